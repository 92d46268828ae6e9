"""How wide an endpoint is: the law by which the number of attempts in flight adapts.

It starts at 16 and doubles with each window (as many successes as the width) while the width is in
use, until the endpoint first refuses or slows down. From then on each window adds a step, and each
refusal or slowdown halves. The step is a 32nd of the width at which it was last narrowed, so that
it is back there sixteen windows later, whatever the scale.

**Refused** is a 429 and whatever else names a time to come back. It narrows once a round trip:
what was in flight already when it narrowed says nothing new. Below 4 it narrows only where most of
what was tried since is refused: one of several servers behind an endpoint may refuse at random, and
no width would end that.

**Slowed down** means: calls take at least twice as long as in the best window so far. Doubling the
width gains nothing where that doubles the time of each call: the others only wait in the
endpoint's queue. (TCP Vegas goes by the same sign.) It is easily mistaken, so:

- The *median* of a window counts, of at least 8 calls that went out after the width last changed,
  against that of earlier windows of the *same model*.
- Generations differ in length, and prompts do. So a call must have become slower in three ways at
  once: in seconds, in seconds per token of the reply, and in seconds per token of prompt and reply
  together. Longer replies are slower only in the first, shorter ones only in the second, longer
  prompts not in the third.
- The engine's own load is no slowness of the endpoint. The event loop's delay is sampled while
  attempts go out; where what it may have added (some ``HOPS`` passes of the loop per call) is more
  than a quarter of the median, the window says nothing about speed.
- It never narrows below the start: few calls vary too much.
- Where narrowing did not help, the endpoint is slower for reasons of its own, or is asked for
  other things: then that speed is the measure from there on.

**Stalled** is an attempt that is still out when one was answered that went out four widths later.
It probably hangs, until its deadline in some minutes; or it is a long reply. It leaves its place to
another meanwhile, up to once the width, so that a few that hang do not hold up all others.

Not known to it: who waits, what time it is. Pure, so that tests can drive it.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

import msgspec

from abyme.config import WIDEST

START = 16
MOST = WIDEST

_LEAST_SAMPLES = 8
_SLOWER = 2.0
"""Times the best median that a slow window takes."""
_HELPED = 0.75
"""Narrowing helped where calls take this part of the time they took before, or less."""
_HOPS = 4
"""Passes of the event loop that a call waits for, between its first byte and its last."""
_STEPS = 32
_OVERTAKEN = 4
"""Times the width that others overtake an attempt until it counts as stalled."""
_FEW = 4
"""A width below which a refusal now and then is no reason to narrow."""
_MANY = 3
"""Refusals that are more than now and then."""


class Timed(msgspec.Struct, frozen=True):
    """One success: how long it took, of which model, how much was read and written (tokens)."""

    seconds: float
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def measures(self) -> tuple[float, float, float]:
        """Seconds; per token of the reply; per token of prompt and reply."""
        written = max(1, self.output_tokens)
        return (
            self.seconds,
            self.seconds / written,
            self.seconds / (self.input_tokens + written),
        )


class _Speed(msgspec.Struct, frozen=True):
    """Medians of a window, in the order of :attr:`Timed.measures`."""

    medians: tuple[float, float, float]

    def against(self, other: _Speed) -> float:
        """How many times slower than ``other``: as often as it is by every measure."""
        return min(
            mine / max(theirs, 1e-9)
            for mine, theirs in zip(self.medians, other.medians, strict=True)
        )

    def best(self, other: _Speed) -> _Speed:
        """The better of each measure."""
        mine, theirs = self.medians, other.medians
        return _Speed((min(mine[0], theirs[0]), min(mine[1], theirs[1]), min(mine[2], theirs[2])))


class Pace:
    """The width of one endpoint, and what it has learned. See the module."""

    def __init__(self, start: int = START, most: int = MOST) -> None:
        self.width = start
        """Attempts that may be in flight, those not counted that have stalled."""
        self.doubling = True
        """Nothing has narrowed it yet."""
        self._start = start
        self._most = most
        self._step = 1
        self._sent = 0
        self._narrowed = 0  # the last attempt that was out when it was last narrowed
        self._changed = 0  # the same, of any change that makes another speed likely
        self._latest = 0  # of those that were answered
        self._out: dict[int, None] = {}  # in the order in which they went out
        self._stalled = 0
        self._peak = 0
        self._successes = 0
        self._refusals = 0
        self._samples: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
        self._lag = 0.0
        self._lags = 0
        self._best: dict[str, _Speed] = {}
        self._slow: tuple[str, _Speed] | None = None  # the window that last narrowed it

    @property
    def places(self) -> int:
        """Attempts that may be in flight in all."""
        return self.width + min(self._stalled, self.width)

    def begin_at(self, width: int) -> None:
        """A user says that the endpoint bears ``width``: taken at their word until it refuses."""
        if self.doubling and width > self.width:
            self._most = max(self._most, width)
            self._change(width)

    def sent(self, in_flight: int) -> int:
        """An attempt goes out, with ``in_flight`` in all; its number, to be told with its end."""
        self._sent += 1
        self._out[self._sent] = None
        self._peak = max(self._peak, in_flight)
        return self._sent

    def ended(self, number: int) -> None:
        """Attempt ``number`` is out no more, however it ended; the last word about it."""
        del self._out[number]
        self._count_stalled()

    def lagged(self, seconds: float) -> None:
        """The event loop took so long to come round."""
        self._lag += seconds
        self._lags += 1

    def succeeded(self, number: int, timed: Timed) -> None:
        """Attempt ``number`` was answered."""
        self._latest = max(self._latest, number)
        if number <= self._narrowed:
            return  # it went out at another width
        if number > self._changed:
            self._samples[timed.model].append(timed.measures)
        self._successes += 1
        if self._successes >= self.width:
            self._end_window()

    def refused(self, number: int) -> None:
        """Attempt ``number`` was refused for there being too many."""
        if number <= self._narrowed:
            return
        self.doubling = False
        self._refusals += 1
        mostly = self._refusals >= _MANY and self._refusals > self._successes
        if self.width > _FEW or mostly:
            self._narrow(1 if mostly else _FEW)

    def _count_stalled(self) -> None:
        self._stalled = 0
        for number in self._out:
            if number >= self._latest - _OVERTAKEN * self.width:
                return
            self._stalled += 1

    def _end_window(self) -> None:
        in_use = self._peak * 2 > self.width
        if self._has_slowed_down():
            self._narrow(self._start)
        elif not in_use or self.width >= self._most:
            self._start_window()
        elif self.doubling:
            self._change(min(self._most, self.width * 2))
        else:
            self.width = min(self._most, self.width + self._step)
            self._start_window()

    def _has_slowed_down(self) -> bool:
        """Whether this window was slow, at a width that can be narrowed for that."""
        model, samples = max(self._samples.items(), key=lambda item: len(item[1]), default=("", []))
        if len(samples) < _LEAST_SAMPLES:
            return False
        seconds, written, all_ = (median(column) for column in zip(*samples, strict=True))
        lag = self._lag / self._lags if self._lags else 0.0
        if _HOPS * lag > seconds / 4:
            return False
        speed = _Speed((seconds, written, all_))
        best = self._best.setdefault(model, speed)
        if speed.against(best) < _SLOWER:
            self._best[model] = best.best(speed)
            self._slow = None
            return False
        if self._narrowed_in_vain(model, speed):
            self._best[model] = speed
            self._slow = None
            return False
        if self.width <= self._start:
            return False
        self._slow = (model, speed)
        return True

    def _narrowed_in_vain(self, model: str, speed: _Speed) -> bool:
        """Whether the last slow window narrowed it, and this one is hardly any faster."""
        if self._slow is None or self._slow[0] != model:
            return False
        return speed.against(self._slow[1]) > _HELPED

    def _narrow(self, least: int) -> None:
        """Halve it; to what was really in use, where that is less, since that was too much."""
        self.doubling = False
        self._step = max(1, self.width // _STEPS)
        used = max(self._peak, self._start // 2)
        self._change(max(least, min(self.width // 2, used)))
        self._narrowed = self._sent

    def _change(self, width: int) -> None:
        self.width = width
        self._changed = self._sent
        self._start_window()

    def _start_window(self) -> None:
        self._successes = self._refusals = self._peak = self._lags = 0
        self._lag = 0.0
        self._samples.clear()
