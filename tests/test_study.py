"""The study of widths and depths: its law keeps to its figures, its quick mode runs whole."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from benchmarks.async_depth import law, published, report
from benchmarks.async_depth.parts import PARTS
from benchmarks.async_depth.results import Results

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_quick_study_is_right_goes_on_where_it_was_left_and_is_shown(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "study.md"
    page.write_text("".join(f"<!-- {m} -->\n<!-- /{m} -->\n" for m in [*report.TABLES, "made"]))
    command = [sys.executable, str(ROOT / "benchmarks" / "async_depth" / "run.py")]
    command += ["--quick", "--results", str(results), "--page", str(page)]

    def run() -> str:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        return ran.stderr

    assert "seed 1" in run()
    for name, plans in PARTS.items():
        trials = Results(results, name).trials
        assert len(trials) == len(list(plans(True))), name
        wrong = [trial for trial in trials if not trial.outcome.right]
        assert not wrong, wrong
        assert all(trial.outcome.bill.dollars > 0 for trial in trials)
    for name in report.CHARTS:
        assert ET.parse(results / f"{name}.svg").getroot().tag.endswith("svg")
    shown = page.read_text().split("<!-- /")
    assert sum("| --: |" in each for each in shown) == len(report.TABLES)
    assert "seed" not in run()  # nothing is done twice


def test_every_trial_of_the_study_is_another_one() -> None:
    for plans in PARTS.values():
        keys = [plan.key for plan in plans(False)]
        assert len(keys) == len(set(keys))


def test_the_law_has_the_spread_and_the_failures_that_are_published() -> None:
    endpoint = law.Law(law.REFUSING, seed=3)
    verdicts = [endpoint.decide(0.0, f"prompt {n}", 1_000, 100) for n in range(20_000)]
    replies = [each.seconds for each in verdicts if each.kind == "reply"]
    logs = [math.log(each / law.typical_seconds(1_000, 100)) for each in replies]
    assert abs(statistics.fmean(logs)) < 0.01
    assert abs(statistics.stdev(logs) - published.SPREAD) < 0.01
    refused = sum(each.kind == "refused" for each in verdicts) / len(verdicts)
    failed = sum(each.kind == "failed" for each in verdicts) / len(verdicts)
    assert abs(refused - published.REFUSED) < 0.004
    assert abs(failed - published.FAILED) < 0.003


def test_what_is_drawn_depends_on_the_prompt_not_on_the_order() -> None:
    one, other = law.Law(law.HOSTED, 1), law.Law(law.HOSTED, 1)
    prompts = [f"prompt {n}" for n in range(50)]
    forth = {each: one.decide(0.0, each, 10, 10) for each in prompts}
    back = {each: other.decide(9.0, each, 10, 10) for each in reversed(prompts)}
    assert forth == back


def test_a_rate_is_kept_by_whoever_waits_as_told() -> None:
    endpoint, now, passed = law.Law(law.tier(1), 1), 0.0, 0
    tokens = 2_000
    while now < 600:
        verdict = endpoint.decide(now, f"{now}", tokens, 0)
        passed += verdict.kind != "refused"
        now += verdict.wait
    limit = published.TIERS[1][1] / tokens
    assert 9 * limit <= passed <= 10.5 * limit


def test_a_server_with_few_places_lets_the_others_wait() -> None:
    own = msgspec.structs.replace(law.OWN, places=2, spread=0.0)
    endpoint = law.Law(own, 1)
    once = law.typical_seconds(100, 100)
    seconds = [endpoint.decide(0.0, str(n), 100, 100).seconds for n in range(6)]
    rounds = [value / once for value in seconds]
    assert [round(each, 6) for each in rounds] == [1, 1, 2, 2, 3, 3]
