"""The attempts against bubblewrap: what it holds by itself, and the rest with the layers inside."""

from __future__ import annotations

import sys

import pytest

from abyme.inside.lockdown import LAYERS
from adversarial.attempts import ATTEMPTS, Attempt
from adversarial.boundaries import BUBBLEWRAP_LETS_THROUGH
from adversarial.trial import attempted_in_bubblewrap
from support.boxes import why_no_bubblewrap

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux"),
    pytest.mark.skipif(
        sys.platform.startswith("linux") and bool(why_no_bubblewrap()),
        reason=f"bubblewrap: {why_no_bubblewrap()}",
    ),
    pytest.mark.slow,
]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda each: f"{each.group}: {each.name}")
def test_it_is_held_by_bubblewrap_alone_or_with_the_layers_inside(attempt: Attempt) -> None:
    needs_more = attempt.name in BUBBLEWRAP_LETS_THROUGH.get(attempt.group, ())
    came = attempted_in_bubblewrap(attempt, LAYERS if needs_more else ())
    assert not came.harm, came.said


def test_what_it_lets_through_are_attempts() -> None:
    known = {(each.group, each.name) for each in ATTEMPTS}
    named = {(group, name) for group, names in BUBBLEWRAP_LETS_THROUGH.items() for name in names}
    assert named <= known
