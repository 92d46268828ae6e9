"""When an attempt counts as hung beside its siblings; the time is the test's own."""

from __future__ import annotations

from abyme.models.patience import LEAST_SECONDS, Patience, Siblings


def answered(count: int, seconds: float = 2.0, characters: int = 100) -> Siblings:
    siblings = Siblings()
    for _ in range(count):
        siblings.answered(seconds, characters)
    return siblings


def test_nothing_is_said_before_enough_were_answered() -> None:
    few = answered(15)
    number = few.sent(0.0)
    assert few.patience(100) is None
    assert not few.has_hung(number, 100, 1e6)


def test_one_that_is_out_four_times_as_long_as_the_slowest_has_hung() -> None:
    siblings = answered(30)
    siblings.answered(3.0, 100)
    number = siblings.sent(10.0)
    assert not siblings.has_hung(number, 100, 21.9)
    assert siblings.has_hung(number, 100, 22.0)


def test_quick_siblings_leave_it_some_seconds_all_the_same() -> None:
    assert answered(16, 0.1).patience(100) == LEAST_SECONDS


def test_a_longer_prompt_may_take_longer() -> None:
    assert answered(16, 2.0, 100).patience(1000) == 80.0
    assert answered(16, 2.0, 100).patience(10) == 8.0


def test_where_many_are_out_as_long_the_endpoint_is_slow_and_nothing_has_hung() -> None:
    siblings = answered(32)
    numbers = [siblings.sent(0.0) for _ in range(3)]
    assert not siblings.has_hung(numbers[0], 100, 100.0)
    siblings.ended(numbers[1])
    assert siblings.has_hung(numbers[0], 100, 100.0)


def test_families_are_apart_and_only_the_latest_are_kept() -> None:
    patience = Patience()
    first = patience.of("a")
    assert patience.of("a") is first and patience.of("b") is not first
    for number in range(300):
        patience.of(number)
    assert patience.of("a") is not first
