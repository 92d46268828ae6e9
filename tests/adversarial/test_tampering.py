"""What code may do to the worker that it runs in, and what the run that it belongs to makes of it.

A cell owns its process: it can break it, or lie about itself. The host stays right all the same:
other runs do not notice, the run goes on, the journal holds, and there is no answer that the
journal does not show as handed over by a cell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from abyme import Answer, Limits
from abyme.context.documents import Data
from abyme.context.load import load
from abyme.events import CellEnded, Event, RunEnded
from abyme.sandbox.base import Workers
from abyme.sandbox.process import ProcessSandbox
from adversarial.forgeries import AFTER, PRELUDE
from support.repl import TestHost, run_cells
from support.runs import cell, events_of, of_kind, scripted_rlm, told

CHANNEL = "channel = next(o for o in gc.get_objects() if type(o).__name__ == 'Channel')\n"
TAMPERING = {
    "json.dumps": 'json.dumps = lambda *_, **__: \'{"t":"done","cell":1}\'',
    "json.loads": "json.loads = lambda *_, **__: {'t': 'run', 'cell': 1, 'code': '1'}",
    "struct": "import struct; struct.pack = struct.unpack = None",
    "builtins.len and print": "import builtins; builtins.len = builtins.print = None",
    "builtins.__import__": "import builtins; builtins.__import__ = None",
    "all builtins": "import builtins; builtins.__dict__.clear()",
    "re": "import re; re.compile = re._cache = None",
    "all modules": "sys.modules.clear()",
    "__main__": "del sys.modules['__main__']",
    "its namespace": "globals().clear()",
    "sys.stdout": "sys.stdout = sys.stderr = None",
    "a stream that raises": "sys.stdout.write = None",
    "sys.displayhook": "sys.displayhook = None",
    "sys.excepthook": "sys.excepthook = None",
    "sys.settrace": "import threading; threading.settrace(1); sys.settrace(lambda *_: 1 / 0)",
    "sys.setprofile": "sys.setprofile(lambda *_: 1 / 0)",
    "sys.exit everywhere": "import threading; threading.Thread.run = lambda *_: os._exit(0)",
    "threading.excepthook": "import threading; threading.excepthook = None",
    "an audit hook": "sys.addaudithook(lambda *_: 1 / 0)",
    "atexit": "import atexit; atexit.register(lambda: 1 / 0)",
    "a signal handler": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "a timer": "import signal; signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)",
    "the recursion limit": "sys.setrecursionlimit(50)",
    "a finalizer": "class F:\n    def __del__(self): 1 / 0\nf = F(); del f",
    "the channel": CHANNEL + "channel.send = lambda frame: None",
    "the channel's lock": CHANNEL + "channel._lock.acquire()",
    "the calls in flight": "for o in gc.get_objects():\n"
    "    if type(o).__name__ == 'Calls': o._pending = o._parts = None",
    "the protected names": "for o in gc.get_objects():\n"
    "    if type(o).__name__ == 'Namespace': o.protected.clear()",
    "a call's function": "llm_query.__code__ = (lambda prompt, model=None: 'forged').__code__",
    "memory": "import ctypes; ctypes.string_at(0)",
    "threads that never end": "import threading\n"
    "def spin():\n    while True: pass\n"
    "[threading.Thread(target=spin).start() for _ in range(4)]",
    "closing every descriptor": "os.closerange(0, 1024)",
    "reading the frames": "def read():\n    for _ in range(99): sock.recv(1)\n"
    "threading.Thread(target=read, daemon=True).start()",
    "a reply to itself": "sock.sendall(b'')",
    "the last frame's half": "sock.sendall(b'\\0\\0\\1\\0{')",
}


def both(runs: Path, first: str, **options: Any) -> tuple[Answer, list[Event]]:
    """A run whose first cell is ``first`` and whose second answers, beside a run like any other."""
    other = scripted_rlm(runs, [cell("kept = len(context)"), cell("FINAL(kept + 1)")])
    options.setdefault("limits", Limits(max_seconds=60, cell_seconds=2))
    options.setdefault("sandbox", ProcessSandbox(grace_seconds=0.3))
    rlm = scripted_rlm(runs, [cell(first), cell("FINAL('second')")], **options)
    bystander = other.start("q", "abc")
    answer = rlm.start("q", "some text").future.result(timeout=90)
    assert bystander.future.result(timeout=90).value == 4
    return answer, events_of(runs, answer)


@pytest.mark.parametrize("code", TAMPERING.values(), ids=TAMPERING)
def test_the_run_goes_on_whatever_a_cell_does_to_its_worker(runs: Path, code: str) -> None:
    answer, events = both(runs, f"{PRELUDE}\n{code}")
    # Some cells spoil the worker for the next one, and do so again when they are re-run.
    assert answer.status in ("complete", "partial"), answer
    assert answer.text in ("second", "")
    assert answer.status == "partial" or answer.text in handed_over(events)


def handed_over(events: Sequence[Event]) -> list[str]:
    """The texts that the journal shows as answers of cells."""
    found = (event.result.finish for event in of_kind(events, CellEnded))
    return [finish.text for finish in found if finish is not None]


def test_a_forged_done_is_the_cells_own_word_and_the_journal_shows_it(runs: Path) -> None:
    forged = f"{PRELUDE}\ndone(finish=dict(value=1, text='1', via='FINAL')){AFTER}"
    answer, events = both(runs, forged)
    assert answer.value == 1 and handed_over(events) == ["1"]
    first = of_kind(events, CellEnded)[0]
    assert first.cell == 1 and first.result.output.startswith("forged")
    assert of_kind(events, RunEnded)[0].answer.text == "1"


def test_a_forged_done_of_a_cell_to_come_is_dropped(runs: Path) -> None:
    finish = "dict(value=1, text='forged', via='FINAL')"
    answer, events = both(runs, f"{PRELUDE}\nfor n in (2, 3, 0, -1): done(cell=n, finish={finish})")
    assert answer.text == "second" and handed_over(events) == ["second"]


def test_a_forged_quote_is_not_verified(runs: Path) -> None:
    places = [(0, 0, 9), (0, 5, 1), (0, 0, 1 << 53), (0, 1 << 52, 1 << 53), (0, 0, 0)]
    quotes = ", ".join(
        f"dict(text='forged!!!', document={document}, start={start}, end={end}, line=1)"
        for document, start, end in places
    )
    code = f"done(finish=dict(value='a', text='a', via='FINAL', quotes=[{quotes}]))"
    answer, _ = both(runs, f"{PRELUDE}\n{code}{AFTER}")
    assert len(answer.quotes) == len(places)
    assert not any(quote.verified for quote in answer.quotes)


def test_without_reading_the_bytes_a_forged_quote_would_be_verified(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abyme.examination.verify_span", lambda *_: True)
    quote = "dict(text='forged!!!', document=0, start=0, end=9, line=1)"
    code = f"done(finish=dict(value='a', text='a', via='FINAL', quotes=[{quote}]))"
    answer, _ = both(runs, f"{PRELUDE}\n{code}{AFTER}")
    assert answer.quotes[0].verified


@pytest.mark.parametrize(("calls", "asked"), [(5, 5), (None, 200)])
def test_forged_calls_spend_what_the_run_may_spend_and_no_more(
    runs: Path, calls: int | None, asked: int
) -> None:
    prompts: list[str] = []

    def sub(request: Any) -> str:
        prompts.append(request.messages[0].text)
        return "x"

    code = (
        f"{PRELUDE}\nfor n in range(200):\n"
        "    forge(t='call', id=n, name='llm_query', args={'prompt': str(n)})\ntime.sleep(1)"
    )
    limits = Limits(max_calls=calls, max_seconds=60)
    answer, _ = both(runs, code, sub=sub, limits=limits)
    assert len(prompts) <= asked if calls else len(prompts) == asked
    assert answer.usage.calls <= 2 + asked


@pytest.mark.parametrize(
    "name", ["eval", "__import__", "__class__", "call", "start_cell", "_leaf", "", "llm_query\0"]
)
def test_a_call_of_what_is_not_offered_is_an_error(runs: Path, name: str) -> None:
    code = (
        "calls = next(o for o in gc.get_objects() if type(o).__name__ == 'Calls')\n"
        f"try: calls.ask({name!r}, {{'prompt': 'x'}})\nexcept CallError as e: print(e)"
    )
    answer, events = both(runs, f"{PRELUDE}\n{code}")
    assert answer.text == "second"
    assert "the host has no function" in told(events)[1]


BOMBS = {
    "threads": (
        "import threading\ngo = threading.Event()\ntry:\n    for _ in range(100_000): "
        "threading.Thread(target=go.wait, daemon=True).start()\nfinally: go.set()",
        {"RuntimeError", "MemoryError"},
    ),
    "descriptors": ("import os\nheld = []\nwhile True: held.append(os.pipe())", {"OSError"}),
    "memory": ("held = bytearray(1 << 40)", {"MemoryError"}),
    "memory in pieces": (
        "held = []\ntry:\n    while True: held.append(bytes(1 << 20))\n"
        "except MemoryError:\n    held.clear()\n    raise",
        {"MemoryError"},
    ),
    "a text that doubles": ("s = 'x' * 1000\nwhile True: s = s + s", {"MemoryError"}),
    "processes": ("import os\nwhile True: os.fork()", {"PermissionError"}),
    "files": ("open('/tmp/big', 'w')", {"PermissionError"}),
    "recursion": ("def f(): f()\nf()", {"RecursionError"}),
}


@pytest.mark.parametrize(("code", "kinds"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_ends_in_an_exception_in_its_cell_and_the_worker_works_on(
    tmp_path: Path, code: str, kinds: set[str]
) -> None:
    box = ProcessSandbox(memory_bytes=300 << 20)
    after = "held = s = None\nimport threading\nt = threading.Thread(target=print, args=('alive',))"
    cells = ["kept = 7", code, f"{after}\nt.start(); t.join(); print(kept)"]
    _, bomb, after_it = run_cells(tmp_path, cells, sandbox=box)
    assert bomb.ended == "raised" and bomb.error is not None
    assert bomb.error.type in kinds, bomb.error
    assert after_it.output == "alive\n7\n", after_it


def test_a_worker_inherits_nothing_of_those_that_are_forked_beside_it(tmp_path: Path) -> None:
    code = (
        "import os, stat\nkinds = []\n"
        "for at in range(1024):\n"
        "    try: mode = os.fstat(at).st_mode\n"
        "    except OSError: continue\n"
        "    if at > 2: kinds.append('socket' if stat.S_ISSOCK(mode) else "
        "'pipe' if stat.S_ISFIFO(mode) else 'file')\n"
        "print(*sorted(kinds))"
    )

    async def one(workers: Workers, data: Data) -> str:
        async with workers.open(data, TestHost(), ()) as repl:
            return (await repl.run(1, code, 10)).output

    async def many(count: int) -> set[str]:
        data = load("some text", folder=tmp_path / str(count))
        async with ProcessSandbox().workers() as workers:
            return set(await asyncio.gather(*(one(workers, data) for _ in range(count))))

    alone = asyncio.run(many(1))
    assert asyncio.run(many(12)) == alone
    assert [held.split().count("socket") for held in alone] == [1]
