"""What a checkpoint keeps, as cells see it, and what there is none of."""

from __future__ import annotations

import decimal
import linecache
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from abyme.inside.bound import Bound
from abyme.inside.checkpoint import NotWhole, dump, load
from abyme.inside.documents import Documents, Store
from abyme.inside.namespace import Namespace
from abyme.inside.references import References
from abyme.inside.surroundings import changed_module, obstacle

KEPT = {
    "functions see what later cells assign": (
        "x = 1\ndef f(): return x\ng = lambda: f() + x",
        "x = 5\nassert f() == 5 and g() == 10\nassert f.__globals__ is globals() is g.__globals__",
    ),
    "a function defined anew is seen by older ones": (
        "def a(): return 1\ndef b(): return a()",
        "def a(): return 2\nassert b() == 2",
    ),
    "a global that only a function sets": (
        "n = 0\ndef up():\n    global n\n    n += 1\nup()",
        "up()\nassert n == 2",
    ),
    "instances and their class": (
        "class K:\n    def __init__(self): super().__init__(); self.v = 1\n"
        "class L(K): pass\nk, l = K(), L()",
        "assert type(k) is K and isinstance(l, K) and isinstance(K(), K) and k.v == 1\n"
        "K.late = 7\nassert k.late == l.late == 7",
    ),
    "two names of one object": (
        "a = b = []\nc = {'a': a}\nd = []; d.append(d)",
        "a.append(1)\nassert b == [1] and c['a'] is a and d[0] is d",
    ),
    "one object, under two names and inside a function's default": (
        "seen = []\ndef f(x, into=seen): into.append(x)",
        "f(3)\nassert seen == [3]",
    ),
    "functions that share a variable": (
        "def make():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n"
        "    def get(): return n\n    def rec(k): return rec(k - 1) if k else n\n"
        "    return up, get, rec\nup, get, rec = make()\nup()",
        "up()\nassert get() == rec(3) == 2",
    ),
    "globals of an exec": (
        "space = {}\nexec('y = 1\\ndef h(): return y', space)\nh = space['h']",
        "space['y'] = 7\nassert h() == 7 and space['h'] is h",
    ),
    "dataclasses, enums, named tuples, generics": (
        "import collections, enum, typing\nfrom dataclasses import dataclass, field\n"
        "@dataclass(order=True)\nclass D:\n    a: int\n    b: list = field(default_factory=list)\n"
        "class E(enum.Enum): A = 1; B = 2\nN = collections.namedtuple('N', 'a b')\n"
        "class T(typing.NamedTuple):\n    a: int = 3\nV = typing.TypeVar('V')\n"
        "class G(typing.Generic[V]): pass\nd, e, n, t = D(1), E.A, N(1, 2), T()\n"
        "count = collections.Counter('aab'); many = collections.defaultdict(lambda: 4)",
        "assert d == D(1) < D(2) and e is E.A is E(1) and n == N(1, 2) and t.a == 3\n"
        "assert count['a'] == 2 and many['new'] == 4 and type(e) is E and d.b == [] is not D(1).b",
    ),
    "abstract classes": (
        "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n"
        "class B(A):\n    def f(self): return super().f\n    @property\n    def p(self): return 1\n"
        "    @staticmethod\n    def s(): return 2\nA.register(int)",
        "assert B().p == 1 and B.s() == 2 and isinstance(3, A)\n"
        "try: A()\nexcept TypeError: pass\nelse: assert False",
    ),
    "modules, and those inside of them": (
        "import xml.etree.ElementTree\nimport os.path as p, json as j\nfrom itertools import chain",
        "assert xml.etree.ElementTree.fromstring('<a/>').tag == 'a'\n"
        "assert p.join('a', 'b') and j.dumps(1) and list(chain([1], [2])) == [1, 2]",
    ),
    "functions that the standard library made": (
        "import contextlib, functools\n@contextlib.contextmanager\ndef three(): yield 3\n"
        "@functools.lru_cache\ndef twice(n): return 2 * n\npart = functools.partial(pow, 2)",
        "with three() as n: assert n == 3\nassert part(2) == 4 == twice.__wrapped__(2)\n"
        "assert twice.cache_info().maxsize == 128",
    ),
    "matches": (
        "import re\nm = re.search(r'(?<=a)(?P<x>b+)', 'xabbb')\n"
        "for last in re.finditer('b', 'abab'): pass",
        "assert m.group('x') == 'bbb' and m.span() == (2, 5) and last.start() == 3",
    ),
    "what a thread pool leaves behind": (
        "from concurrent.futures import ThreadPoolExecutor, as_completed\nimport threading, queue\n"
        "with ThreadPoolExecutor(4) as pool:\n    jobs = [pool.submit(len, 'abc')]\n"
        "    jobs.append(pool.submit(int, 'x'))\n"
        "t = threading.Thread(target=print, daemon=True); t.start(); t.join()\n"
        "lock, again, ready = threading.Lock(), threading.RLock(), threading.Event()\n"
        "ready.set()\ntodo = queue.Queue(); todo.put(1)",
        "assert jobs[0].result() == 3 and type(jobs[1].exception()) is ValueError\n"
        "assert not t.is_alive() and t.daemon and ready.is_set() and todo.get() == 1\n"
        "with lock, again: assert lock.locked()\nready.clear(); ready.set(); ready.wait()\n"
        "try: pool.submit(len, '')\nexcept RuntimeError: pass\nelse: assert False",
    ),
    "asyncio, with what is done": (
        "import asyncio\nasync def f(x): return x\nasync def g(): raise KeyError('no')\n"
        "tasks = [asyncio.ensure_future(c) for c in (f(1), g())]\n"
        "await asyncio.gather(*tasks, return_exceptions=True)\nlimit = asyncio.Semaphore(2)\n"
        "loop = asyncio.get_event_loop()",
        "assert tasks[0].result() == 1 and type(tasks[1].exception()) is KeyError\n"
        "assert await f(2) == 2\nasync with limit: pass\n"
        "assert loop is asyncio.get_running_loop()\nawait asyncio.to_thread(len, '')",
    ),
    "a generator at its end": (
        "def g(): yield 1\nit = g(); list(it)",
        "assert list(it) == [] and list(g()) == [1]",
    ),
    "chance": (
        "import random\nrandom.seed(3); random.random()\nmine = random.Random(4)",
        "now = random.random()\nrandom.seed(3); random.random()\nassert now == random.random()\n"
        "assert mine.random() == random.Random(4).random()",
    ),
    "what the interpreter was set to": (
        "import sys, decimal, warnings\nsys.setrecursionlimit(3210)\n"
        "decimal.getcontext().prec = 7\n"
        "warnings.filterwarnings('error', 'only this')",
        "assert sys.getrecursionlimit() == 3210 and decimal.getcontext().prec == 7\n"
        "try: warnings.warn('only this')\nexcept UserWarning: pass\nelse: assert False",
    ),
    "the answer, the last value, annotations": (
        "answer['content'] = 'half'\nx: int = 1\n1 + 2",
        "assert answer == {'content': 'half', 'ready': False} and _ == 3 and x == 1\n"
        "assert __annotations__ == {'x': int}",
    ),
    "what was deleted": ("a = 1\ndel a, exit", "assert 'a' not in globals() != 'exit'"),
    "exceptions": (
        "class Odd(ValueError): pass\ntry: raise Odd('x', 3)\nexcept Odd as caught: kept = caught",
        "assert type(kept) is Odd and kept.args == ('x', 3)",
    ),
    "texts of any kind": (
        "s = 'é\\ud800😀' * 3; b = b'\\x00\\xff'; a = bytearray(b'x')\n"
        "n = float('nan'); i = 10**50",
        "assert s == 'é\\ud800😀' * 3 and b == b'\\x00\\xff' and a == b'x' and n != n\n"
        "assert i == 10**50 and type(a) is bytearray",
    ),
    "the calls, and what is made of them": (
        "ask = llm_query\ndef asks(x): return llm_query(x)\nboth = [llm_query, ask]",
        "assert ask is llm_query is both[0] is both[1] and asks('x') == 'X'",
    ),
    "the module itself": (
        "import __main__, sys\nme = sys.modules['__main__']\nnames = globals()",
        "z = 1\nassert me is __main__ and me.z == 1 and names is globals()",
    ),
}

REFUSED = {
    "g = (i for i in range(3)); next(g)": "g: PicklingError: a generator",
    "import sqlite3; db = sqlite3.connect(':memory:')": "db: TypeError: cannot pickle 'sqlite3",
    "import threading; held = threading.Lock(); held.acquire()": "held: .*a lock that is held",
    "import threading; held = threading.RLock(); held.acquire()": "held: .*a lock that is held",
    "import functools\n@functools.cache\ndef f(): return 1\nf()": "f: .*lru_cache is in use",
    "import threading; t = threading.Thread(target=print)": "t: .*a thread that is not over",
    "from concurrent.futures import Future; f = Future()": "f: .*a future that has no result",
    "import re; it = re.finditer('a', 'aaa')": "it: TypeError",
    "import csv; rows = csv.reader([])": "rows: TypeError",
    "class K:\n    def __reduce__(self): raise SystemError('no')\nk = K()": "k: SystemError: no",
    "deep = []\nfor _ in range(100_000): deep = [deep]": "deep: .*recursion",
    "big = 'x' * 2_000_000": "more than|too large",
    "big = ['x' * 1000 + str(i) for i in range(2000)]": "the variables take more than 1,000,000",
}


class Session:
    """A namespace as a worker has it, in this process."""

    def __init__(self, *cells: str, store: Store | None = None) -> None:
        self.shown: list[str] = []
        self._ran = 0
        self.store = store or _store("text", {"a": b"the text"})
        self.namespace = Namespace(self.shown.append, 1000)
        self.names = self.namespace.names
        self.names["answer"] = {"content": "", "ready": False}
        self.namespace.protected = {"llm_query": lambda prompt: prompt.upper()}
        if self.store.kind == "documents":
            self.namespace.protected["context"] = self.store.context()
        self.bound = Bound(self.namespace)
        self.namespace.restore()
        self.run(*cells)

    def run(self, *cells: str) -> None:
        for code in cells:
            self._ran += 1
            self.namespace.run(code, f"<cell {self._ran}>")

    @property
    def references(self) -> References:
        return References(self.namespace, self.store, self.bound)

    def again(self, limit: int = 10_000_000) -> Session:
        """A fresh one, made of a checkpoint of this one."""
        data = dump(self.references, limit)
        fresh = Session(store=self.store)
        fresh._ran = self._ran
        load(data, fresh.references)
        return fresh

    def close(self) -> None:
        if self.namespace.loop is not None:
            self.namespace.loop.close()


def _store(kind: str, texts: dict[str, bytes], limit: int = 1 << 20) -> Store:
    documents = [
        {"name": name, "bytes": len(text), "encoding": "utf-8", "errors": "strict", "bom": 0}
        for name, text in texts.items()
    ]
    store = Store(kind, documents, lambda index, count: [], limit)
    for index, text in enumerate(texts.values()):
        store._mapped[index] = text
    return store


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    """Put back what cells and checkpoints set."""
    main, hook, filters = sys.modules["__main__"], sys.displayhook, warnings.filters[:]
    limit, state, context = sys.getrecursionlimit(), random.getstate(), decimal.getcontext().copy()
    yield
    sys.modules["__main__"], sys.displayhook = main, hook
    warnings.filters[:] = filters  # type: ignore[index]
    sys.setrecursionlimit(limit)
    random.setstate(state)
    decimal.setcontext(context)
    for name in [name for name in linecache.cache if name.startswith("<cell ")]:
        del linecache.cache[name]


@pytest.mark.parametrize("made, then", KEPT.values(), ids=KEPT.keys())
def test_what_is_kept(made: str, then: str) -> None:
    before = Session(made)
    after = before.again()
    before.close()
    after.run(then)
    again = after.again()  # and what was restored can be saved
    after.close()
    again.close()


@pytest.mark.parametrize("made, reason", REFUSED.items(), ids=REFUSED.values())
def test_what_there_is_no_checkpoint_of(made: str, reason: str) -> None:
    session = Session("fine = 1", made)
    with pytest.raises(NotWhole, match=reason):
        session.again(1_000_000)
    assert session.names["fine"] == 1
    if lock := session.names.get("held"):
        lock.release()


def test_tracebacks_show_the_lines_of_cells_that_did_not_run_again() -> None:
    session = Session("def f():\n    return 1 / 0  # here")
    data = dump(session.references)
    linecache.cache.pop("<cell 1>")
    load(data, Session(store=session.store).references)
    assert linecache.getline("<cell 1>", 2) == "    return 1 / 0  # here\n"


def test_the_data_is_named_and_not_copied() -> None:
    texts = {"small": b"s" * 10, "large": b"l" * 200_000, "lazy": b"z" * 900_000}
    session = Session(
        "small, large, lazy = (context[n] for n in ('small', 'large', 'lazy'))\n"
        "same, found = lazy, lazy.search('z')\nheld = context",
        store=_store("documents", texts, 400_000),
    )
    other = session.store.lazy(2)
    session.names["other"] = other
    after = session.again(100_000)
    assert isinstance(after.names["context"], Documents)
    after.run(
        "assert small == 's' * 10 and large is context['large'] and held is context\n"
        "assert lazy is same is context['lazy'] and len(other) == len(lazy) == 900_000\n"
        "assert found.span() == (0, 1)"
    )


def test_a_text_that_cells_named_is_there_again_although_later_ones_do_not_name_it() -> None:
    store = _store("text", {"a": b"the text"})
    session = Session(store=store)
    session.references.load_context()
    session.run(
        "def size(): return len(context)\npart = context\nm = __import__('re').search('t', part)"
    )
    after = session.again()
    after.run("assert size() == 8 and part is globals()['con' + 'text'] is m.string")


def test_arrays_and_frames() -> None:
    pytest.importorskip("numpy")
    pytest.importorskip("pandas")
    session = Session(
        "import numpy as np, pandas as pd\nx = np.arange(9.0); y = x[2:]; z = x[::-2]\n"
        "d = pd.DataFrame({'a': [1, 2], 's': ['x', 'y']}); same = d"
    )
    session.again().run(
        "x[2] = 70\nassert y[0] == z[3] == 70 and same is d and list(d.s) == ['x', 'y']"
    )
    session.run("big = np.zeros(10**7)")
    with pytest.raises(NotWhole, match="an array of 80,000,000 bytes"):
        session.again()


def test_another_python_reads_none_of_it() -> None:
    session = Session("x = 1")
    data = dump(session.references)
    with pytest.raises(NotWhole, match="another Python"):
        load(data.replace(b"cpython", b"pypython", 1), session.references)


@pytest.mark.parametrize("cut", [60, 200, -1])
def test_what_is_cut_off_is_refused(cut: int) -> None:
    session = Session("x = list(range(1000))")
    data = dump(session.references)
    with pytest.raises(NotWhole):
        load(data[:cut], Session(store=session.store).references)


def test_an_interrupt_gives_it_up_at_any_object() -> None:
    session = Session(
        "class K:\n    def __reduce__(self): raise KeyboardInterrupt\nmany = [1, 2, K()]"
    )
    with pytest.raises(KeyboardInterrupt):
        session.again()


@pytest.mark.parametrize(
    "codes, found",
    [
        (["import json\njson.dumps = 1"], "json.dumps"),
        (["import json", "def f():\n    json.dumps = 1"], "json.dumps"),
        (["import os\nos.environ['X'] = '1'"], "os.environ['X']"),
        (["import sys\ndel sys.modules['os']"], "sys.modules['os']"),
        (["import pandas as pd\npd.set_option('a', 1)"], "pd.set_option"),
        (["import signal\nsignal.signal(2, print)"], "signal.signal"),
        (["__builtins__['len'] = 1"], "__builtins__['len']"),
        (["import json\nx = json.dumps\nx = {}\nx['a'] = 1\nx.y = 2"], ""),
        (["import sys, random\nsys.setrecursionlimit(9)\nrandom.seed(1)"], ""),
        (["df.set_index('a')\nself.x = 1", "not python ("], ""),
    ],
)
def test_what_cells_set_in_modules(codes: list[str], found: str) -> None:
    assert changed_module(codes) == found


def test_pending_work_forbids_one() -> None:
    session = Session("import asyncio\nasync def f(): await asyncio.sleep(60)")
    assert obstacle(session.namespace, True) == "a call is still under way"
    session.run("task = asyncio.ensure_future(f())\nawait asyncio.sleep(0)\nx = 1")
    assert obstacle(session.namespace, False).startswith("1 tasks of asyncio")
    session.run("task.cancel()\ntry: await task\nexcept asyncio.CancelledError: pass\nx = 1")
    session.close()


def test_nothing_is_changed_by_taking_one() -> None:
    session = Session("x = [1]\ndef f(): return x")
    before: dict[str, Any] = dict(session.names)
    session.again()
    assert {name: id(value) for name, value in session.names.items()} == {
        name: id(value) for name, value in before.items()
    }
