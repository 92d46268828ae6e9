"""One trial: a program run once by the real engine against the simulated endpoint."""

from __future__ import annotations

import contextlib
import resource
import shutil
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from abyme import RLM, Limits
from abyme.config import MOST_DEPTH
from abyme.models import caller
from abyme.models.retry import RetryPolicy
from abyme.subcalls import jobs
from benchmarks.async_depth import programs
from benchmarks.async_depth.endpoint import MODEL, Bill, Order, Simulated
from benchmarks.async_depth.law import Behaviour

_EVENT = "at the quay an event took place that many people saw, and somebody wrote it down"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial does, all of it: equal plans are the same trial."""

    part: str
    settings: dict[str, Any]
    """Of the program, ``program`` among them."""
    behaviour: Behaviour
    scale: float
    seed: int
    characters: int
    width: int | None = None
    right: Any = None
    """The answer that it should give."""
    labels: dict[str, Any] = {}
    """By which it is shown."""

    @property
    def key(self) -> str:
        """What it is known by among the results."""
        return msgspec.json.encode(self, order="sorted").decode()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a trial. Seconds are the machine's own: times ``scale`` for the world's."""

    seconds: float
    right: bool
    status: str
    reason: str
    host_cpu: float
    """Seconds of the engine's process; the endpoint has its own."""
    worker_cpu: float
    worker_peak: int
    """Bytes of the largest worker."""
    bill: Bill
    extra: dict[str, Any] = {}


class Trial(msgspec.Struct, frozen=True):
    """A plan and its outcome, as they are kept."""

    plan: Plan
    outcome: Outcome

    @property
    def seconds(self) -> float:
        """Seconds of the simulated world."""
        return self.outcome.seconds * self.plan.scale


class Bench(msgspec.Struct, frozen=True):
    """What trials work with: the endpoint, and a folder for data and runs."""

    endpoint: Simulated
    folder: Path

    def data(self, characters: int) -> Path:
        """A file of so many characters of ASCII; always the same."""
        path = self.folder / f"{characters}.txt"
        if not path.exists():
            with path.open("w", encoding="ascii") as file:
                for block in blocks(characters):
                    file.write(block)
        return path


def run(bench: Bench, plan: Plan) -> Outcome:
    """Do it. Whatever befalls the run is its outcome."""
    url = bench.endpoint.begin(Order(plan.behaviour, plan.seed, plan.scale))
    runs = bench.folder / "runs"
    rlm = RLM(MODEL, base_url=url, api_key="k", runs=runs, limits=limits(plan))
    data = bench.data(plan.characters)
    with scaled(plan.scale):
        cpu, began = _cpu(), time.monotonic()
        answer = rlm.completion(programs.question(plan.settings), data)
        seconds, cpu = time.monotonic() - began, _cpu() - cpu
    bill = bench.endpoint.take()
    shutil.rmtree(runs, ignore_errors=True)
    return Outcome(
        seconds=seconds,
        right=answer.value == plan.right,
        status=answer.status,
        reason=answer.reason,
        host_cpu=cpu,
        worker_cpu=answer.cpu_seconds,
        worker_peak=answer.peak_bytes,
        bill=bill,
    )


def limits(plan: Plan) -> Limits:
    """None that could end a trial early; the width and the depth are the plan's."""
    depth = plan.settings.get("depth", 1)
    return Limits(
        max_calls=None,
        max_cost=None,
        max_seconds=600,
        max_width=plan.width,
        max_depth=min(MOST_DEPTH, max(1, depth)),
    )


@contextlib.contextmanager
def scaled(scale: float) -> Iterator[None]:
    """The engine's own waits, by the scale of everything else: backoff, and a look's lingering."""
    usual = RetryPolicy()
    policy = partial(
        RetryPolicy,
        base=usual.base / scale,
        cap=usual.cap / scale,
        away_cap=usual.away_cap / scale,
    )
    with (
        mock.patch.object(caller, "RetryPolicy", policy),
        mock.patch.object(jobs, "LINGER_SECONDS", jobs.LINGER_SECONDS / scale),
    ):
        yield


def labelled(trial: Trial, wanted: Mapping[str, Any]) -> bool:
    """Whether a trial has these labels."""
    return all(trial.plan.labels.get(name) == value for name, value in wanted.items())


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def blocks(characters: int) -> Iterator[str]:
    """Numbered lines, a needle among each million characters, cut to the very size."""
    number, left = 0, characters
    while left > 0:
        lines = [f"{number:07d} line {line:05d}: {_EVENT}.\n" for line in range(9_000)]
        lines[4_500] = f"{number:07d} here lies quay-7777, once in each block\n"
        block = "".join(lines)[:left]
        yield block
        left -= len(block)
        number += 1
