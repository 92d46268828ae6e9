"""Seeds, clocks and bound values between host and worker: what the conformance kit cannot see."""

from __future__ import annotations

import asyncio
import datetime
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from abyme.context.load import load
from abyme.errors import SandboxError
from abyme.inside import seeding, wallclock
from abyme.sandbox import binding
from abyme.sandbox.base import NoCheckpoint, Repl
from abyme.sandbox.process import ProcessSandbox
from abyme.sandbox.shared_text import SHARED_FROM
from support.boxes import BOXES, box
from support.repl import TestHost, opened, run_cells

BEGAN = 1_000_000_000.25
DRAW = "import random\nrandom.random()"
FORGE = """
import gc, json, os, socket, struct
sockets = [o for o in gc.get_objects() if type(o) is socket.socket]
end = next(o.fileno() for o in sockets if o.family == socket.AF_UNIX)
def forge(**frame):
    body = json.dumps(frame).encode()
    os.write(end, struct.pack('>I', len(body)) + body)
"""


async def told(repl: Repl, cell: int, code: str, clock: float | None = None) -> str:
    result = await repl.run(cell, code, 30, clock)
    assert result.ended == "done", result
    return result.output.strip()


def within(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 100))


@pytest.mark.parametrize("kind", BOXES)
def test_every_box_knows_seed_clock_and_values(kind: str, tmp_path: Path) -> None:
    data = load("some text", folder=tmp_path / "data")

    async def one(seed: int) -> str:
        sandbox = box(kind, tmp_path)
        async with sandbox.workers() as workers, workers.open(data, TestHost(), (), seed) as repl:
            await repl.bind({"history": [{"question": "é?"}]})
            day = await told(repl, 1, "import datetime; print(datetime.date.today())", BEGAN)
            assert day == "2001-09-09"
            assert await told(repl, 2, "history[0]['question']") == "'é?'"
            return await told(repl, 3, DRAW)

    first, same, other = (within(one(seed)) for seed in (7, 7, 8))
    assert first == same != other


def test_the_worker_that_shares_a_text_is_told_what_the_unused_one_was(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a" * (SHARED_FROM + 1))
    data = load(tmp_path / "text", folder=tmp_path / "data")

    async def one(first: str) -> tuple[bool, str, str]:
        async with (
            ProcessSandbox().workers() as workers,
            workers.open(data, TestHost(), (), 7) as repl,
        ):
            before = repl.pid
            await repl.bind({"history": ["old"], "other": 1})
            await repl.bind({"history": ["new"]})
            values = await told(repl, 1, f"{first}\nhistory, other", BEGAN)
            return repl.pid != before, values, await told(repl, 2, DRAW)

    shared, alone = within(one("len(context)")), within(one("1"))
    assert (shared[0], alone[0]) == (True, False)
    assert shared[1:] == alone[1:]
    assert shared[1] == "(['new'], 1)"


def test_workers_forked_ahead_have_the_seed_of_the_node_that_takes_them(tmp_path: Path) -> None:
    data = load("text", folder=tmp_path / "data")

    async def drawn(seeds: list[int]) -> list[str]:
        numbers = []
        async with ProcessSandbox().workers() as workers:
            for seed in seeds:
                async with workers.open(data, TestHost(), (), seed) as repl:
                    numbers.append(await told(repl, 1, DRAW))
        return numbers

    ahead, later, other, again = within(drawn([7, 7, 8, 7]))
    assert ahead == later == again != other


def test_what_is_loaded_already_is_seeded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker that is forked from a process which has drawn numbers itself."""
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    state = random.getstate()
    try:
        seeding.seed_random(7)
        drawn = random.random()
        random.random()
        seeding.seed_random(7)
        assert random.random() == drawn == random.Random(7).random()
    finally:
        random.setstate(state)


def test_numpys_shared_generator_has_the_seed(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    code = "import numpy\nprint(numpy.random.rand(), numpy.random.default_rng().random())"
    numbers = [run_cells(tmp_path / run, [code])[0].output.split() for run in "ab"]
    assert numbers[0][0] == numbers[1][0]
    assert numbers[0][1] != numbers[1][1]


def test_a_worker_that_draws_nothing_has_no_random_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "names = 'random', 'hashlib', 'abyme_inside.wallclock'\n"
        "print([name for name in names if name in sys.modules])\n"
        "import random\n"
        "print(random.__loader__, random.__spec__.loader is random.__loader__)\n"
        "print('exec_module' in vars(random.__loader__), random.__file__ is not None)"
    )
    first, second, third = run_cells(tmp_path, [code])[0].output.splitlines()
    assert first == "[]"
    assert "SourceFileLoader" in second and second.endswith("True")
    assert third == "False True"


def test_cells_that_put_their_own_in_place_keep_it(tmp_path: Path) -> None:
    cells = [
        "import datetime, random, time\nkept = datetime.datetime\n"
        "class Fake(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None): return 'fake'\n"
        "datetime.datetime, time.time = Fake, lambda: 5\ndel time.ctime",
        "print(datetime.datetime.now(), time.time(), str(kept.now())[:10])",
        "print(datetime.datetime.now(), time.time(), kept.now().year > 2020)",
    ]

    async def main() -> list[str]:
        async with opened(load("text", folder=tmp_path)) as repl:
            clocks = (BEGAN, BEGAN, None)
            return [await told(repl, n, cells[n], clocks[n]) for n in range(3)]

    assert within(main())[1:] == ["fake 5 2001-09-09", "fake 5 True"]


@pytest.mark.parametrize("clock", [0.0, -1.5, 4e9, 1e300, -1e308])
def test_no_clock_ends_a_worker(clock: float, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            await repl.run(
                1, "import time, datetime; time.ctime(), datetime.date.today()", 30, clock
            )
            code = "abs(datetime.datetime.now().timestamp() - time.time()) < 5, time.time() > 1.7e9"
            assert await told(repl, 2, f"import time, datetime; {code}") == "(True, True)"

    within(main())


def test_a_deadline_ends_a_cell_that_is_run_again_and_sets_the_clock_right(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            for number in range(1, 6):
                code = "import time\nwhile True: time.time()"
                assert (await repl.run(2 * number, code, 0.1, BEGAN)).ended == "interrupted"
                day = "import datetime; datetime.date.today().year > 2020"
                assert await told(repl, 2 * number + 1, day) == "True"

    within(main())


def test_the_classes_are_as_they_were_afterwards() -> None:
    """In this very process: what stands in the classes during a cell, and after it."""
    before = dict(vars(datetime.datetime)), dict(vars(datetime.date)), datetime.datetime
    functions = {name: getattr(time, name) for name in wallclock._FUNCTIONS}
    try:
        for _ in range(3):
            with wallclock.beginning_at(BEGAN):
                assert datetime.date.today() == datetime.date.fromtimestamp(BEGAN)
                assert str(datetime.datetime.now(datetime.UTC))[:19] == "2001-09-09 01:46:40"
                with pytest.raises(TypeError):
                    datetime.datetime.now("UTC")  # type: ignore[arg-type]
            assert datetime.datetime.now().year > 2020
            now = dict(vars(datetime.datetime)), dict(vars(datetime.date)), datetime.datetime
            assert now == before
        with pytest.raises(ZeroDivisionError), wallclock.beginning_at(BEGAN):
            _ = 1 / 0
        assert dict(vars(datetime.datetime)) == before[0] and time.time() > BEGAN + 1e8
    finally:
        wallclock._replaced.clear()
        for name, function in functions.items():
            setattr(time, name, function)


def test_values_in_many_pieces_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "PIECE", 7)
    value = [{"text": 'é "quoted" \\ \ud800\udc00 \U0001f600' * 5, "n": -1.5e-7}, None, 2**80]

    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            await repl.bind({"x": value, "y": [value]})
            assert await told(repl, 1, f"x == {value!r} and y == [x]") == "True"

    within(main())


def test_a_bind_that_was_cancelled_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "PIECE", 1_000)

    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            for wait in (0.0, 0.001, 0.003, 0.01, 0.03):
                binding_it = asyncio.create_task(repl.bind({"x": "long " * 50_000}))
                await asyncio.sleep(wait)
                binding_it.cancel()
                await asyncio.wait((binding_it,))
                await repl.bind({"x": ["whole"] * 500})
                assert await told(repl, 1, "x == ['whole'] * 500") == "True"

    within(main())


def test_too_much_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "MAX_CHARACTERS", 1_000)

    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            with pytest.raises(ValueError, match="over 1,000 characters"):
                await repl.bind({"a": "x" * 600, "b": "x" * 600})
            assert await told(repl, 1, "'a' in globals()") == "False"

    within(main())


def test_a_worker_without_the_memory_for_it_says_so_and_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        small = ProcessSandbox(memory_bytes=64 << 20)
        async with opened(load("text", folder=tmp_path), sandbox=small) as repl:
            with pytest.raises(SandboxError, match="not enough memory"):
                await repl.bind({"x": [[]] * 5_000_000})
            assert await told(repl, 1, "'x' in globals()") == "False"

    within(main())


def test_a_worker_that_has_ended_takes_no_value(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            assert (await repl.run(1, "import os; os._exit(0)", 30)).ended == "died"
            with pytest.raises(SandboxError, match="the worker ended"):
                await repl.bind({"x": 1})

    within(main())


@pytest.mark.parametrize(
    "frame",
    [
        "t='bind', id=1, name='x', text='1', first=True, last=True",
        "t='bound', id=1, reason=''",
        "t='bound'",
        "t='bound', id=[], reason=''",
        "t='hello', seed=1",
    ],
)
def test_the_hosts_own_frames_end_the_worker_that_sends_them(frame: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            code = f"{FORGE}\nforge({frame})\nimport time; time.sleep(60)"
            result = await repl.run(1, code, 30)
            assert result.ended == "died" and result.error is not None
            assert "broke the protocol" in result.error.message

    within(main())


@pytest.mark.parametrize(
    "answer",
    ["reason='r' * 5_000", "reason=5", "", "reason='', id=2**80", "reason='', id=99"],
)
def test_a_forged_answer_to_a_bind_ends_that_worker_and_no_other(
    answer: str, tmp_path: Path
) -> None:
    """A thread of a cell's answers in the worker's place."""
    code = (
        f"{FORGE}\nimport sys, threading, time\n"
        "loaded = sys.modules['abyme_inside.bound']\n"
        f"def serve(self, frame):\n"
        f"    forge(**{{'t': 'bound', 'id': frame['id'], **dict({answer})}})\n"
        "    time.sleep(60)\n"
        "loaded.Bound.serve = serve"
    )

    async def main() -> None:
        data = load("text", folder=tmp_path)
        async with opened(data) as first, opened(data) as second:
            assert await told(first, 1, code) == ""
            with pytest.raises(SandboxError, match="broke the protocol"):
                await first.bind({"x": 1})
            assert not first.alive
            await second.bind({"x": 1})
            assert await told(second, 1, "x") == "1"

    within(main())


def test_a_worker_that_does_not_answer_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "_SECONDS", 0.3)
    code = (
        "import sys, time\n"
        "sys.modules['abyme_inside.bound'].Bound.serve = lambda self, frame: time.sleep(60)"
    )

    async def main() -> None:
        async with opened(load("text", folder=tmp_path)) as repl:
            assert await told(repl, 1, code) == ""
            with pytest.raises(SandboxError, match="took no value"):
                await repl.bind({"x": 1})
            assert not repl.alive

    within(main())


def test_a_value_that_a_cell_made_no_json_forbids_a_checkpoint(tmp_path: Path) -> None:
    async def main() -> None:
        data = load("text", folder=tmp_path)
        for change in ("history[0]['s'] = {1}", "history.append(history)", "del history[0]"):
            async with opened(data) as repl:
                await repl.bind({"history": [{}]})
                await told(repl, 1, change)
                with pytest.raises(NoCheckpoint, match="changed history, which is bound anew"):
                    await repl.checkpoint()

    within(main())
