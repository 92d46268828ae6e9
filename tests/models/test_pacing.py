"""The law of an endpoint's width, driven by hand: no loop, no clock."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.models.pacing import MOST, START, Pace, Timed

Latency = Callable[[int], float]


def play(
    pace: Pace,
    rounds: int,
    latency: Latency = lambda width: 1.0,
    *,
    use: int = 10**6,
    model: str = "m",
    tokens: tuple[int, int] = (1000, 100),
) -> list[int]:
    """Round trips in which all that may be out is out, is answered, and follows itself.

    ``latency``: seconds at so many in flight. ``use``: the most that anybody wants out. Returns
    the width behind each round.
    """
    widths = []
    out: deque[tuple[int, float]] = deque()

    def fill() -> None:
        while len(out) < min(pace.width, use):
            out.append((pace.sent(len(out) + 1), latency(min(pace.width, use))))

    for _ in range(rounds):
        fill()
        for _ in range(len(out)):
            number, seconds = out.popleft()
            pace.succeeded(number, Timed(seconds, model, *tokens))
            fill()
        widths.append(pace.width)
    return widths


def refuse(pace: Pace, in_flight: int = 2, times: int = 1) -> None:
    """So many that go out one after the other are refused, and nothing is let in."""
    for _ in range(times):
        pace.refused(pace.sent(in_flight))


# -- wider ---------------------------------------------------------------------------------------


def window(pace: Pace, seconds: float = 1.0, *, model: str = "m", read: int = 1000,
           written: int = 100, lag: float = 0.0) -> int:  # fmt: skip
    """One window in which the whole width is in use; the width behind it."""
    numbers = [pace.sent(at + 1) for at in range(pace.width)]
    pace.lagged(lag)
    for number in numbers:
        pace.succeeded(number, Timed(seconds, model, read, written))
    return pace.width


def test_it_doubles_each_window_up_to_the_most() -> None:
    pace = Pace()
    assert [window(pace) for _ in range(8)] == [32, 64, 128, 256, 512, 1024, 1024, 1024]
    assert pace.doubling


def test_without_a_pause_between_windows_too_it_doubles_each_round_trip() -> None:
    assert play(Pace(), 6) == [32, 64, 128, 256, 512, 1024]


@pytest.mark.parametrize(("use", "expected"), [(1, 16), (8, 16), (9, 32), (20, 64), (200, 512)])
def test_it_grows_to_less_than_four_times_what_is_in_use(use: int, expected: int) -> None:
    widths = play(Pace(), 60, use=use)
    assert widths[-1] <= expected


def test_an_explicit_width_is_the_start_until_it_is_refused() -> None:
    pace = Pace()
    pace.begin_at(50)
    pace.begin_at(4)
    assert pace.width == 50
    pace.begin_at(5000)
    assert pace.width == 5000
    refuse(pace, 5000, times=2)
    pace.begin_at(9000)
    assert pace.width == 2500


# -- narrower ------------------------------------------------------------------------------------


def test_a_refusal_halves_once_a_round_trip() -> None:
    pace = Pace()
    out = [pace.sent(at + 1) for at in range(16)]
    for number in out:
        pace.refused(number)
    assert pace.width == 8
    refuse(pace, times=2)
    assert pace.width == 8, "whether that helped is not known yet"
    refuse(pace)
    assert pace.width == 4, "most is refused"


def test_below_four_it_narrows_where_most_is_refused_and_never_below_one() -> None:
    pace = Pace(start=4)
    refuse(pace, times=2)
    assert pace.width == 4
    refuse(pace)
    assert (pace.width, pace.doubling) == (2, False)
    refuse(pace, times=9)
    assert pace.width == 1


def test_a_lone_request_is_not_refused_for_the_width() -> None:
    pace = Pace()
    for _ in range(3):
        number = pace.sent(1)
        assert pace.refused(number), "everybody waits as long as the endpoint said"
        pace.ended(number)
    assert (pace.width, pace.doubling) == (16, True)
    first, second = pace.sent(1), pace.sent(2)
    pace.refused(first)
    pace.refused(second)
    assert pace.width < 16, "they were not alone any more"


def test_refusals_at_random_leave_it_some_width() -> None:
    chance = random.Random(5)
    pace = Pace()
    widths = []
    for _ in range(3000):
        number = pace.sent(pace.width)
        if chance.random() < 0.2:
            pace.refused(number)
        else:
            pace.succeeded(number, Timed(1.0))
        widths.append(pace.width)
    assert sum(widths[100:]) / 2900 > 16


def test_refusals_at_random_are_told_from_those_for_the_width() -> None:
    """As many at half the width: narrowing is undone, and doubling with it."""
    pace, chance = Pace(), random.Random(2)

    def trip(share: float) -> None:
        for number in [pace.sent(at + 1) for at in range(pace.width)]:
            if chance.random() < share:
                pace.refused(number)
            else:
                pace.succeeded(number, Timed(1.0))

    trip(0.2)
    assert (pace.width, pace.doubling) == (8, False)
    for _ in range(30):
        trip(0.2)
    assert pace.width > 2 * START


def test_one_refusal_among_many_does_not_narrow() -> None:
    pace = Pace()
    play(pace, 3)
    assert pace.width == 128
    pace.refused(pace.sent(128))
    assert (pace.width, pace.doubling) == (128, True)
    assert window(pace) == 256


def test_everybody_waits_where_most_is_refused_and_not_for_one_among_many() -> None:
    pace = Pace()
    numbers = [pace.sent(at + 1) for at in range(16)]
    assert not pace.refused(numbers[5]), "the five that went out before it are let in"
    assert [pace.refused(number) for number in numbers[6:]][-4:] == [True] * 4
    lone = Pace()
    assert lone.refused(lone.sent(1)), "nothing is known of it but that"


def test_a_refusal_goes_to_what_was_in_use_where_that_is_less() -> None:
    pace = Pace()
    play(pace, 5)
    assert pace.width == 512
    window_of_few = [pace.sent(at + 1) for at in range(40)]
    for number in window_of_few:
        pace.succeeded(number, Timed(1.0, "m"))
    pace._start_window()
    refuse(pace, 30, times=4)
    assert pace.width == 40


def test_after_a_refusal_it_is_back_within_a_few_windows_and_never_doubles_again() -> None:
    pace = Pace()
    for _ in range(4):
        window(pace)
    assert pace.width == 256
    refuse(pace, 256, times=4)
    while pace.width == 128:
        window(pace)
    widths = [128, pace.width, *(window(pace) for _ in range(15))]
    assert {after - before for before, after in pairwise(widths)} == {8}
    assert widths[-1] == 256


def test_successes_from_before_a_refusal_say_nothing_of_the_new_width() -> None:
    pace = Pace()
    out = [pace.sent(at + 1) for at in range(16)]
    for number in out[:2]:
        pace.refused(number)
    for number in out[2:]:
        pace.succeeded(number, Timed(1.0))
    assert pace.width == 8


def test_one_refusal_by_itself_narrows_nothing() -> None:
    """It would leave a batch of hundreds at 8 at once."""
    pace = Pace()
    out = [pace.sent(at + 1) for at in range(16)]
    pace.refused(out[4])
    assert (pace.width, pace.doubling) == (16, True)
    pace.refused(out[6])
    assert pace.width == 8, "two of seven are no chance"


# -- slower --------------------------------------------------------------------------------------


def queueing(knee: int) -> Latency:
    """An endpoint that serves ``knee`` at once in a second each; the others wait in its queue."""
    return lambda width: max(1.0, width / knee)


@pytest.mark.parametrize("knee", [24, 64, 200, 400])
def test_it_settles_near_the_width_that_an_endpoint_serves_at_once(knee: int) -> None:
    pace = Pace()
    widths = play(pace, 200, queueing(knee))
    assert not pace.doubling
    assert max(widths) <= 4 * knee + START
    assert knee / 2 <= sum(widths[100:]) / 100 <= 2 * knee + 1


def test_a_steady_endpoint_is_never_found_slow_whatever_its_scatter() -> None:
    chance = random.Random(7)
    pace = Pace()
    widths = play(pace, 300, lambda width: chance.lognormvariate(0, 0.8))
    assert pace.doubling and widths[-1] == MOST


def test_longer_or_shorter_replies_and_longer_prompts_are_no_slowdown() -> None:
    pace = Pace()
    assert window(pace, 1.0, read=1000, written=100) == 32
    assert window(pace, 30.0, read=1000, written=3000) == 64
    assert window(pace, 0.5, read=1000, written=1) == 128
    assert window(pace, 20.0, read=20_000, written=100) == 256
    assert window(pace, 1.0, read=1000, written=100) == 512


def test_another_model_is_measured_by_itself() -> None:
    pace = Pace()
    assert window(pace, 0.1, model="fast") == 32
    assert window(pace, 9.0, model="slow") == 64
    assert window(pace, 18.0, model="slow") == 32


def test_the_engines_own_load_is_no_slowdown() -> None:
    busy, idle = Pace(), Pace()
    for pace in (busy, idle):
        assert window(pace, 0.1) == 32
    assert window(busy, 0.3, lag=0.05) == 64
    assert window(idle, 0.3, lag=0.001) == 16


def test_it_never_narrows_below_its_start_for_being_slow() -> None:
    pace = Pace()
    window(pace, 1.0)
    for seconds in (10.0, 100.0, 1000.0, 10_000.0):
        assert window(pace, seconds) >= START


def test_where_narrowing_does_not_help_the_new_speed_is_the_measure() -> None:
    pace = Pace()
    for _ in range(3):
        window(pace, 1.0)
    assert pace.width == 128
    widths = [window(pace, 5.0) for _ in range(40)]
    assert widths[0] == 64
    assert widths[-1] > 128, "it was not slow for being asked too much"
    assert window(pace, 10.0) == widths[-1] // 2, "but twice that is slow again"


def test_where_narrowing_helps_it_goes_on() -> None:
    pace = Pace()
    for _ in range(5):
        window(pace, 1.0)
    assert pace.width == 512
    assert [window(pace, seconds) for seconds in (16.0, 8.0, 4.0, 2.0)] == [256, 128, 64, 32]
    assert window(pace, 1.0) > 32


def test_few_samples_decide_nothing() -> None:
    pace = Pace(start=2)
    for _ in range(2):
        window(pace, 1.0)
    assert pace.width == 8
    small = Pace(start=2)
    window(small, 1.0)
    assert window(small, 1000.0) == 8


# -- stalled -------------------------------------------------------------------------------------


def answer(pace: Pace, count: int) -> None:
    for _ in range(count):
        number = pace.sent(1)
        pace.succeeded(number, Timed(1.0))
        pace.ended(number)


def test_attempts_that_hang_leave_their_places_to_others_up_to_once_the_width() -> None:
    pace = Pace(start=4, most=4)
    hung = [pace.sent(at + 1) for at in range(4)]
    answer(pace, 12)
    assert pace.places == pace.width == 4, "not overtaken often enough"
    answer(pace, 8)
    assert (pace.width, pace.places) == (4, 8)
    more = [pace.sent(at + 5) for at in range(4)]
    answer(pace, 40)
    assert pace.places == 2 * pace.width
    for number in hung + more:
        pace.ended(number)
    assert pace.places == pace.width


def test_where_nothing_is_answered_nothing_counts_as_stalled() -> None:
    pace = Pace(start=4)
    for at in range(100):
        pace.sent(at + 1)
    assert pace.places == 4


# -- whatever happens ----------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.integers(40, 300),
    st.floats(0, 1),
    st.floats(0, 0.5),
)
def test_whatever_happens_the_width_stays_in_its_bounds(
    seed: int, start: int, most: int, refusing: float, losing: float
) -> None:
    chance = random.Random(seed)
    pace = Pace(start, most)
    out: list[int] = []
    narrowed_at = widest = 0
    for _ in range(600):
        before = pace.width
        if len(out) < pace.width and chance.random() < 0.7:
            out.append(pace.sent(len(out) + 1))
        elif out:
            number = out.pop(chance.randrange(len(out)))
            if chance.random() < refusing:
                pace.refused(number)
                if pace.width < before:
                    assert number > narrowed_at, "once a round trip"
                    narrowed_at = pace._sent
            elif chance.random() >= losing:  # else it failed otherwise
                seconds = chance.lognormvariate(0, 1)
                pace.succeeded(number, Timed(seconds, "m", 10, chance.randrange(9)))
                assert pace.width >= before or before > start, "slowness ends at the start"
            pace.ended(number)
        if chance.random() < 0.01:
            pace.lagged(chance.random())
        assert 1 <= pace.width <= most
        widest = max(widest, before)
        assert pace.width <= max(2 * before, widest), "where narrowing was in vain, it is undone"
        assert pace.width <= pace.places <= pace.width + min(pace.width, len(out))
        assert pace.width >= min(before // 2, start // 2) or before <= 4


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 600), st.integers(0, 2**32))
def test_it_finds_a_limit_on_what_is_in_flight_and_stays_close(limit: int, seed: int) -> None:
    """An endpoint that answers ``limit`` at once and refuses whatever is above."""
    chance = random.Random(seed)
    pace = Pace()
    refused = answered = 0
    for trip in range(120):
        numbers = [pace.sent(at + 1) for at in range(pace.width)]
        chance.shuffle(numbers)
        for at, number in enumerate(numbers):
            if at < limit:
                pace.succeeded(number, Timed(chance.uniform(0.8, 1.2), "m", 10, 10))
            else:
                pace.refused(number)
            if trip >= 40:
                answered, refused = answered + (at < limit), refused + (at >= limit)
        assert pace.width <= max(2 * START, 2.25 * limit), "a few refusals may be chance"
    assert answered >= 0.5 * 80 * min(limit, MOST), "most of it is used"
    assert refused <= max(0.15 * answered, 80 * 2), "hardly anything is refused"
    assert math.isfinite(pace.width)
