"""The study: ``python benchmarks/async_depth/run.py [--part NAME] [--quick] [--again] [--report]``.

A simulation. It goes on where it was left: a trial that is among the results is not done again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file: the folder above is where `benchmarks` is found
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.async_depth import report
from benchmarks.async_depth.endpoint import Simulated
from benchmarks.async_depth.parts import PARTS
from benchmarks.async_depth.results import FOLDER, Results
from benchmarks.async_depth.sized import run_apart
from benchmarks.async_depth.trial import Bench, Outcome, Plan, run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "study.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is missing of the parts that were asked for; then draw and write."""
    parser = argparse.ArgumentParser(description="Simulate widths and depths of sub-calls.")
    parser.add_argument("--part", choices=PARTS, action="append", help="may be given several times")
    parser.add_argument("--quick", action="store_true", help="few and small trials, in seconds")
    parser.add_argument("--again", action="store_true", help="forget what was done of these parts")
    parser.add_argument("--report", action="store_true", help="only draw and write")
    parser.add_argument("--results", type=Path, default=FOLDER, help="the folder for results")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that has the tables")
    asked = parser.parse_args(arguments)
    if asked.quick and asked.results == FOLDER:
        parser.error("--quick needs --results (and --page) of its own")
    if not asked.report:
        study(asked.part or list(PARTS), asked.results, quick=asked.quick, again=asked.again)
    report.write(asked.results, asked.page)


def study(names: Sequence[str], folder: Path, *, quick: bool = False, again: bool = False) -> None:
    """Do the trials of these parts that are missing in ``folder``."""
    with tempfile.TemporaryDirectory() as temporary, Simulated() as endpoint:
        bench = Bench(endpoint, Path(temporary))
        for name in names:
            began = time.monotonic()
            results = Results(folder, name)
            plans = list(PARTS[name](quick))
            results.drop_others(set() if again else {plan.key for plan in plans})
            for plan in plans:
                if not results.has(plan):
                    results.add(plan, _run(bench, plan))
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def _run(bench: Bench, plan: Plan) -> Outcome:
    began = time.monotonic()
    outcome = run_apart(bench, plan) if plan.part == "sizes" else run(bench, plan)
    took = time.monotonic() - began
    right = "" if outcome.right else f"  NOT RIGHT: {outcome.status} {outcome.reason}"
    print(f"  {plan.labels} seed {plan.seed}: {took:.1f} s{right}", file=sys.stderr)
    return outcome


if __name__ == "__main__":
    main()
