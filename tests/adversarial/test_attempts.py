"""Every attempt is held by every layer that is said to hold it, and is a real attempt."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

import pytest

from abyme.inside.lockdown import LAYERS, STRICT
from adversarial.attempts import ATTEMPTS, Attempt
from adversarial.trial import alone, attempted, without

ONLY_LANDLOCK = [each for each in ATTEMPTS if each.layers == ("landlock",)]
STRICTLY = (*(layer for layer in LAYERS if layer != "landlock"), STRICT)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """More than a worker may have, so that it is the worker's own limit that holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, more), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda each: f"{each.group}: {each.name}")
def test_it_is_held_and_would_succeed_otherwise(attempt: Attempt) -> None:
    assert not attempted(attempt, LAYERS).harm
    for layer in attempt.layers:
        came = attempted(attempt, alone(layer))
        assert not came.harm, f"{layer} alone does not hold it"
    came = attempted(attempt, without(attempt))
    if came.lacks:
        pytest.skip(f"not provable here: {came.lacks}")
    assert came.harm, f"it fails anyway: {came.said}"


@pytest.mark.parametrize("attempt", ONLY_LANDLOCK, ids=lambda each: f"{each.group}: {each.name}")
def test_what_landlock_alone_holds_is_held_without_it_by_opening_nothing(attempt: Attempt) -> None:
    assert not attempted(attempt, STRICTLY).harm


def test_there_are_many_and_each_has_its_own_name() -> None:
    assert len(ATTEMPTS) >= 80
    names = [(each.group, each.name) for each in ATTEMPTS]
    assert len(set(names)) == len(names)
    assert {layer for each in ATTEMPTS for layer in each.layers} <= set(LAYERS)
