"""How long an attempt may be out before it counts as hung, by what its siblings took.

Siblings are the calls that one cell makes of one model: mostly one template with other data. Where
many of them were answered, one that is out four times as long as the slowest, and five seconds at
the least, has probably hung; a deadline of minutes would hold up the whole batch for it. It is cut
early once a call at the most: what is slow for good reasons is asked twice, and then has its time.
And not while others are out as long: then the endpoint is slow, and asking again would not help.

Pure: told of the time, so that tests can drive it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

LEAST_SECONDS = 5.0
"""No attempt is cut sooner."""
LOOK_SECONDS = 0.5
"""How often one that is out longer is looked at."""
_TIMES = 4.0
"""Times the slowest of the siblings answered lately."""
_ENOUGH = 16
"""Siblings answered, before anything is said of the others."""
_LATELY = 256
_FEW = 16
"""One of so many that were answered lately may be hung beside those that are."""
_FAMILIES = 256


class Siblings:
    """The calls of one cell to one model: what they took, and since when they are out."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_LATELY)
        self._longest_prompt = 1
        self._out: dict[int, float] = {}
        self._count = 0

    def sent(self, now: float) -> int:
        """An attempt goes out; its number."""
        self._count += 1
        self._out[self._count] = now
        return self._count

    def ended(self, number: int) -> None:
        """It is out no more, however it ended."""
        del self._out[number]

    def answered(self, seconds: float, characters: int) -> None:
        """One was answered: how long it took, and how long its prompt was."""
        self._seconds.append(seconds)
        self._longest_prompt = max(self._longest_prompt, characters)

    def patience(self, characters: int) -> float | None:
        """Seconds that an attempt with so long a prompt may take; None while too little is known.

        A prompt longer than all that were answered may take so many times longer.
        """
        if len(self._seconds) < _ENOUGH:
            return None
        longer = max(1.0, characters / self._longest_prompt)
        return max(LEAST_SECONDS, _TIMES * max(self._seconds) * longer)

    def has_hung(self, number: int, characters: int, now: float) -> bool:
        """Whether attempt ``number`` has, as far as can be told now."""
        patience = self.patience(characters)
        if patience is None or now - self._out[number] < patience:
            return False
        slow = sum(now - sent >= patience / 2 for sent in self._out.values())
        return slow * _FEW <= len(self._seconds)


class Patience:
    """The siblings of each cell, the latest so many."""

    def __init__(self) -> None:
        self._families: OrderedDict[Hashable, Siblings] = OrderedDict()

    def of(self, family: Hashable) -> Siblings:
        """Those that are known by ``family``, which is any key."""
        siblings = self._families.pop(family, None) or Siblings()
        self._families[family] = siblings
        if len(self._families) > _FAMILIES:
            self._families.popitem(last=False)
        return siblings
