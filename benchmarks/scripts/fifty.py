"""Runs at once, each over a secret of its own: base URL, folder of runs, how many, rounds.

Prints JSON: the seconds of each round and of each run in it, CPU, and bytes of memory. Fails where
anything of one run is found in another, or where a run's budget was not its own.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.processes import memory_of, started_by, watching

from abyme import RLM, Answer, Limits
from abyme.events import CellEnded, Event, RunEnded
from abyme.journal.reader import read
from abyme.journal.verify import verify

SUBS, CALLS, GREEDY = 4, 7, 7
"""Sub-calls of each run; the calls that its budget has, one of them kept back; the run that wants
many more."""

url, folder, count, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rlm = RLM("root", sub_model="sub", base_url=url, api_key="", runs=folder,
          limits=Limits(max_calls=CALLS))  # fmt: skip


def at_once(name: str) -> tuple[list[Answer], dict[str, Any]]:
    """All answers, and what they took."""
    ends: dict[int, float] = {}
    cpu, began = time.process_time(), time.perf_counter()

    def listen(number: int) -> Any:
        def heard(event: Event) -> None:
            if isinstance(event, RunEnded):
                ends[number] = time.perf_counter() - began

        return heard

    started = [
        rlm.start("What is it?", f"{name}-{number} {50 if number == GREEDY else SUBS}",
                  listen(number))
        for number in range(count)
    ]  # fmt: skip
    answers = [each.future.result() for each in started]
    seconds = time.perf_counter() - began
    took = {"seconds": seconds, "runs": list(ends.values()), "cpu": time.process_time() - cpu}
    return answers, took


def check(name: str, answers: list[Answer]) -> None:
    """Each has its own data, output, budget and journal, and nothing of another."""
    for number, answer in enumerate(answers):
        secret = f"{name}-{number}"
        made = 0 if number == GREEDY else SUBS
        assert answer.status == "complete", answer.reason
        assert answer.text == f"{secret} {made}", answer.text
        assert answer.usage.calls == 2 + made, answer.usage
        run = folder / answer.run
        events = [record.event for record in read(run)]
        printed = [event.result.output for event in events if isinstance(event, CellEnded)]
        assert printed[0] == f"{secret} {made}\n", printed
        told = "".join(msgspec.json.encode(event).decode() for event in events)
        named = {*re.findall(r"secret\d*-\d+", told)}
        assert named == {secret}, named
        data = [path.read_text("utf-8") for path in (run / "data").iterdir()]
        assert data == [f"{secret} {50 if number == GREEDY else SUBS}"], data
        assert verify(run, head=answer.head).whole


at_once("secret")
measured = []
for place in range(rounds):
    answers, took = at_once(f"secret{place}")
    check(f"secret{place}", answers)
    measured.append(took)
me = os.getpid()
memory = 0
if memory_of(me):
    with watching(lambda: memory_of(me) + sum(map(memory_of, started_by(me)))) as seen:
        at_once("secret")
    memory = max(seen)
print(json.dumps({"rounds": measured, "memory": memory}))
