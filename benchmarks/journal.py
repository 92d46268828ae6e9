"""What the journal costs: time of the engine for an event, and room on the disk.

Time is CPU time of the whole process, so that what is done behind the run (texts compressed, files
brought to the disk) is in it. The floor writes the same bytes with ``os.write`` and nothing else.
Sizes are of runs that were really made, with a scripted model.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

from abyme import RLM, Answer, Limits
from abyme.engine import engine
from abyme.events import (
    CallEnded,
    CallStarted,
    CellStarted,
    Event,
    MessageAdded,
    TurnEnded,
)
from abyme.journal.reader import read
from abyme.journal.verify import verify
from abyme.journal.writer import Journal
from abyme.models.base import Request
from abyme.models.scripted import Scripted
from abyme.types import Usage
from benchmarks.figures import Bench, Row, alternate, cell

_CALLS = 2_000
_PROMPT, _REPLY = 2_000, 500
_WORDS = (
    *("ledger", "kettle", "harbour", "winter", "treaty", "copper", "signal", "orchard", "valley"),
    *("engine", "letter", "garden", "bridge", "market", "captain", "river", "story", "window"),
)


def journal(bench: Bench) -> list[Row]:
    """Time of an event, then sizes of runs."""
    return [*_times(bench), *_large(bench), _ten_turns(bench)]


# -- time ------------------------------------------------------------------------------------------


def _times(bench: Bench) -> list[Row]:
    count = 1_000 if bench.quick else 5_000
    short, raw = _compare(bench, [_short_event(number) for number in range(count)])
    long, raw_long = _compare(bench, [_long_event(number) for number in range(count // 10)])
    durable = [_append(bench, [_short_event(0)] * 100, durable=True) for _ in range(3)]
    return [
        Row(
            "an event in the journal",
            short,
            raw,
            target=30e-6,
            note="CPU time, of events as a run has them; floor: os.write of the same bytes",
        ),
        Row("  one with a text of 10 kB of its own", long, raw_long, note="compressed behind it"),
        Row(
            "  one that waits for the disk",
            median(each.wall for each in durable),
            note="elapsed time; with durable=True only",
        ),
    ]


def _short_event(number: int) -> Event:
    key = f"0/{number % 30}/8f3a2b1c9d0e4f56/{number}"
    match number % 5:
        case 0:
            return CallStarted(key, "0", 3, "llm_query", "gpt-5-mini", "Summarise. " * 20, 1, 4096)
        case 1:
            usage = Usage(912, 88, 0, 1)
            return CallEnded(key, "A reply of some length. " * 20, usage, 0.000404, 1.25)
        case 2:
            return CellStarted("0", 3, 4, "for part in parts:\n    print(part[:80])\n" * 5)
        case 3:
            return MessageAdded("0", number, "user", "Cell 4 ran.\nOutput:\n" + "a line\n" * 100)
    return TurnEnded("0", number)


def _long_event(number: int) -> Event:
    return MessageAdded("0", number, "user", _text(number, 10_000))


class _Spent:
    """Seconds for each event."""

    def __init__(self, cpu: float, wall: float, folder: Path) -> None:
        self.cpu = cpu
        self.wall = wall
        self.folder = folder


def _compare(bench: Bench, events: list[Event]) -> tuple[float, float]:
    lines: list[bytes] = []

    def ours() -> float:
        spent = _append(bench, events)
        lines[:] = (spent.folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
        return spent.cpu

    def floor() -> float:
        file = os.open(bench.folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        began = time.process_time()
        for line in lines:
            os.write(file, line)
        spent = time.process_time() - began
        os.close(file)
        return spent / len(lines)

    mine, raw = alternate(bench.rounds(9), ours, floor)
    return median(mine), median(raw)


def _append(bench: Bench, events: list[Event], *, durable: bool = False) -> _Spent:
    """Write them as a run does: the loop gets its turn between them."""
    shutil.rmtree(bench.folder / "events" / "r", ignore_errors=True)

    async def main() -> _Spent:
        written = Journal(bench.folder / "events", "r", durable=durable)
        began, cpu = time.perf_counter(), time.process_time()
        for number, event in enumerate(events):
            written.append(event)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await written.close()
        spent = time.perf_counter() - began, time.process_time() - cpu
        return _Spent(spent[1] / len(events), spent[0] / len(events), written.folder)

    return asyncio.run(main())


# -- room ------------------------------------------------------------------------------------------


def _large(bench: Bench) -> list[Row]:
    """A cell with a batch of distinct prompts; each reply is distinct too."""
    code = (
        "import random\n"
        f"words = {_WORDS!r}\n"
        "def text(seed):\n"
        "    rng = random.Random(seed)\n"
        f"    return ' '.join(rng.choice(words) for _ in range(400))[:{_PROMPT}]\n"
        f"replies = llm_query_batched([f'{{n}} ' + text(n) for n in range({_CALLS})])\n"
        "print(len(replies))"
    )
    replies = [cell(code), cell("FINAL(str(len(set(replies))))")]
    answer, folder = _run(bench, replies, "a short text", max_calls=_CALLS + 10)
    assert answer.text == str(_CALLS), answer.reason
    text = sum(len(each.encode()) for each in _distinct(folder))
    bound = 1.3 * text + 1_500 * _CALLS
    packed = _size(folder / "blobs") + (folder / "journal.jsonl").stat().st_size
    found = verify(folder)
    assert found.whole, found.problems
    whole = sum(len(each) for each in _unpacked(folder).values())
    whole += (folder / "journal.jsonl").stat().st_size
    return [
        Row(
            f"the journal of a run of {_CALLS:,} calls",
            whole,
            bound,
            unit="MB",
            compared="ratio",
            target=1.0,
            note=f"against 1.3 × its {text / 1e6:.1f} MB of distinct text + 1.5 kB a call",
        ),
        Row("  as it lies there, long texts compressed", packed, whole, "MB", "ratio"),
    ]


def _ten_turns(bench: Bench) -> Row:
    path = bench.text(10)
    code = "part = context[{n}*900_000:][:900_000]\nprint(part[:8_000])\nprint(part.count('river'))"
    replies = [cell(code.replace("{n}", str(n))) for n in range(9)]
    answer, folder = _run(bench, [*replies, cell("FINAL(str(len(context)))")], path)
    assert answer.turns == 10, answer.reason
    beside = _size(folder) - _size(folder / "blobs")
    return Row(
        "ten turns over 10 MB leave, beside long texts",
        beside,
        _size(folder / "blobs"),
        unit="MB",
        target=1e6,
        note="floor: the long texts, compressed",
    )


def _run(bench: Bench, replies: list[str], context: Any, **limits: Any) -> tuple[Answer, Path]:
    def sub(request: Request) -> str:
        prompt = request.messages[-1].text
        return _text(len(prompt) + int(prompt.split()[0]), _REPLY)

    rlm = RLM(Scripted(replies, sub), runs=bench.folder / "runs", limits=Limits(**limits))
    answer = rlm.completion("How many?", context)
    engine().settle()  # else files are renamed while they are counted
    return answer, bench.folder / "runs" / answer.run


def _distinct(folder: Path) -> set[str]:
    found: set[str] = set()
    for record in read(folder):
        match record.event:
            case MessageAdded(text=text) | CallEnded(text=text) | CallStarted(prompt=text):
                found.add(text)
    return found


def _unpacked(folder: Path) -> dict[str, bytes]:
    from abyme.journal.blobs import Blobs

    blobs = Blobs(folder)
    names = {path.stem for path in (folder / "blobs").rglob("*") if path.is_file()}
    return {name: blobs.get(name) for name in names}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _text(seed: int, length: int) -> str:
    """Words in an order of their own; it compresses about as prose does."""
    words = random.Random(seed)
    return " ".join(words.choice(_WORDS) for _ in range(length // 4))[:length]
