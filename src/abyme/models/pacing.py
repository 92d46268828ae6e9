"""How wide an endpoint is: the law by which the number of attempts in flight adapts.

It starts at 16 and doubles with each window (as many successes as the width) while the width is in
use, until the endpoint first refuses too many or slows down. From then on each window adds a step,
and each such refusal or slowdown halves. The step is a 32nd of the width at which it was last
narrowed, so that it is back there sixteen windows later, whatever the scale.

**Refused** is a 429 and whatever else names a time to come back. It narrows once a round trip:
what was in flight already when it narrowed says nothing new. But some endpoints refuse at random,
one of several servers behind them or a share of all requests, and no width ends that. So:

- The *share* counts, of the attempts that went out last. What is still out counts as let in where
  one that went out later was refused: refusals come sooner than answers. A share that chance
  explains beside the share that is *excused* does not narrow; at first that is one in fifty. Nor
  does one refusal by itself. Below the start, where nothing has been excused, each does.
- Narrowing is a *trial*: the width then stays until four would have been refused at the share
  from before. Where at least half of that share still is, narrowing was in vain: it is undone,
  doubling too, and the share is excused. Else it helped. An excuse fades with each window, and
  ends where *most* of what went out lately is refused: that is never chance, and no excuse.
- Where most is refused, the time that the endpoint names is everybody's; else it is the time of
  the one that was refused. Where little is known (below the start, nothing on trial and nothing
  excused), one refusal is taken for all.
- One that was alone in flight was not refused for the width: everybody waits, nothing narrows.
- Below 4 it narrows only where most of what was tried since is refused.

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

import math
from collections import defaultdict, deque
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
_MANY, _MANY_AT_FIRST = 4, 3
"""Refusals that may be most of what was tried; fewer where nothing is excused yet."""
_MOSTLY = 16
"""Attempts of which most are refused, or not."""
_LATELY = 64
"""Attempts over which a share is taken, at the most."""
_STRAY = 0.02
"""The share that is excused from the start."""
_MOST_EXCUSED = 0.34
_FADES = 0.9
"""What a window leaves of an excuse."""
_TELLING = 4
"""Refusals, expected or seen, by which a trial is judged."""


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


class _Trial(msgspec.Struct, frozen=True):
    """It was narrowed: what it was before, and what share was refused then."""

    width: int
    doubling: bool
    share: float


def _likely(tried: int, share: float) -> float:
    """The most refusals that are likely where each has this chance."""
    expected = tried * share
    return expected + 2 * math.sqrt(expected * (1 - share))


class Pace:
    """The width of one endpoint, and what it has learned. See the module."""

    def __init__(self, start: int = START, most: int = MOST) -> None:
        self.width = start
        """Attempts that may be in flight, those not counted that have stalled."""
        self.doubling = True
        """Nothing has narrowed it yet, or all that did was in vain."""
        self._start = start
        self._most = most
        self._step = 1
        self._sent = 0
        self._narrowed = 0  # the last attempt that was out when it was last narrowed
        self._changed = 0  # the same, of any change that makes another speed likely
        self._latest = 0  # of those that were answered
        self._out: dict[int, int] = {}  # those out, as they went out; with how many were out then
        self._stalled = 0
        self._in_flight = 0  # when the last one went out
        self._peak = 0
        self._successes = 0
        self._refusals = 0
        self._refused: deque[int] = deque(maxlen=most)  # numbers
        self._excused = _STRAY  # the share of refusals that are no reason to narrow
        self._trial: _Trial | None = None  # whether narrowing helps is not known yet
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
        self._out[self._sent] = in_flight
        self._in_flight = in_flight
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

    def refused(self, number: int) -> bool:
        """Attempt ``number`` was refused for there being too many.

        True where everybody is to wait as long as the endpoint said.
        """
        if self._out == {number: 1}:
            return True
        self._refused.append(number)
        excused = self._excused > _STRAY
        span = _MOSTLY if excused else max(6, min(_MOSTLY, self.width))
        many = _MANY if excused else _MANY_AT_FIRST
        refused, tried = self._lately(span)
        everybody = 2 * refused > tried and (refused >= many or refused == tried)
        if not excused and self._trial is None and self.width < START:
            everybody = True
        if number > self._narrowed:
            self._refusals += 1
            refused, tried = self._lately(span, self._narrowed)
            if refused >= many and 2 * refused > tried:
                self._excused = _STRAY
                self._try_narrower(_MOST_EXCUSED, least=self._least())
            elif self._trial is None or self._judge(self._trial):
                self._suspect()
        return everybody

    def _lately(self, span: int | None = None, since: int = 0) -> tuple[int, int]:
        """How many were refused of the last ``span`` that went out after ``since``; of how many."""
        last = max(self._latest, max(self._refused, default=0))
        first = since if span is None else max(since, last - span)
        return sum(number > first for number in self._refused), last - first

    def _least(self) -> int:
        """What it may be narrowed to where most is refused."""
        nearly_all = self._refusals >= 3 and self._refusals > self._successes
        return 1 if nearly_all and self.width <= _FEW else _FEW

    def _suspect(self) -> None:
        """Narrow it where more are refused than chance and the excuse explain."""
        careful = self.width < START and self._excused <= _STRAY
        whole = max(_MOSTLY, self.width)
        for span in (min(_LATELY, whole), whole):
            refused, tried = self._lately(span, self._narrowed)
            if careful or (refused > 1 and refused > _likely(tried, self._excused)):
                self._try_narrower(refused / max(tried, _MOSTLY), least=_FEW)
                return

    def _try_narrower(self, share: float, *, least: int) -> None:
        if self.width <= least:
            return
        trial = self._trial or _Trial(self.width, self.doubling, share)
        self._narrow(least)
        self._trial = _Trial(trial.width, trial.doubling, max(share, trial.share))

    def _judge(self, trial: _Trial) -> bool:
        """Undo narrowing where it was in vain; True where it was not, as soon as that is known."""
        refused, tried = self._lately(None, self._narrowed)
        if tried * trial.share < _TELLING and refused < _TELLING:
            return False
        share = refused / tried
        if trial.share / 2 <= share <= _MOST_EXCUSED:
            if tried < self.width:
                return False  # what was used up before may still be short
            self._trial = None
            self._excused = max(self._excused, share)
            self.doubling = trial.doubling
            self._change(max(self.width, trial.width))
            return False
        if share < trial.share / 2:
            self._trial = None
            self._excused = min(self._excused, max(_STRAY, share))
        return True

    def _count_stalled(self) -> None:
        self._stalled = 0
        for number in self._out:
            if number >= self._latest - _OVERTAKEN * self.width:
                return
            self._stalled += 1

    def _end_window(self) -> None:
        in_use = self._peak * 2 > self.width
        self._excused = max(_STRAY, _FADES * self._excused)
        before = self.width
        if self._trial is not None:
            self._judge(self._trial)
        if self.width != before:
            return  # a window of the new width has begun
        if self._has_slowed_down():
            self._narrow(self._start)
        elif not in_use or self.width >= self._most or self._trial is not None:
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
        self._successes = self._refusals = self._lags = 0
        self._peak = self._in_flight  # those still count where nothing goes out for a while
        self._lag = 0.0
        self._samples.clear()
