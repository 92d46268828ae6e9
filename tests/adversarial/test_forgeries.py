"""What a worker sends does no harm to its host, and each check of the host is what holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adversarial.forgeries import FORGERIES, Forgery
from adversarial.hosting import forged

SHOWN = [each for each in FORGERIES if not isinstance(each.off, str)]
every = pytest.mark.parametrize("attempt", FORGERIES, ids=lambda each: f"{each.group}: {each.name}")
shown = pytest.mark.parametrize("attempt", SHOWN, ids=lambda each: f"{each.group}: {each.name}")


@every
def test_the_host_holds_it(attempt: Forgery, tmp_path: Path) -> None:
    seen = forged(attempt, tmp_path)
    assert not attempt.harm(seen), seen
    assert not seen.errors, seen.errors
    if seen.result.ended == "died":
        assert seen.result.error is not None and 10 < len(seen.result.error.message) < 500


@shown
def test_without_its_check_it_would_do_harm(
    attempt: Forgery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = attempt.off
    assert not isinstance(off, str)
    seen = forged(attempt, tmp_path, lambda: off(monkeypatch))
    assert attempt.harm(seen), f"it fails anyway: {seen}"


def test_each_has_its_own_name() -> None:
    names = [(each.group, each.name) for each in FORGERIES]
    assert len(set(names)) == len(names)
