"""The seconds of one node."""

from __future__ import annotations

import math
from collections.abc import Callable

from abyme.errors import BudgetExceeded

FINAL_SECONDS = 60.0
"""Seconds kept back for the last call, but never more than FINAL_SHARE of all."""
FINAL_SHARE = 0.1


class Timer:
    """A node's clock, which runs from now on; ``spent`` seconds are gone already.

    A child's time is what its own limit says, or less where its parent's time for ordinary work
    is over before: then that is all it has. Out of it, it keeps back its own seconds for its last
    call. So the last call of a child comes before its parent's ordinary work has to end.

    ``most``: its own limit in seconds, None where it has none. ``node``: whose clock it is.
    """

    def __init__(
        self,
        most: float | None,
        node: str,
        clock: Callable[[], float],
        spent: float = 0.0,
        parent: Timer | None = None,
    ) -> None:
        self._clock = clock
        self._began = clock() - spent
        self.most = math.inf if most is None else most
        """The seconds that it has; ``inf``: no limit."""
        self.node = node
        """Whose limit that is."""
        self._of_child = parent is not None
        if parent is not None and spent + parent.left() < self.most:
            self.most = max(0.0, spent + parent.left())
            self.node, self._of_child = parent.node, parent._of_child

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    def left(self, *, final: bool = False) -> float:
        """Seconds until the time is up, ``inf`` without a limit; below 0 once it has passed.

        All but those that are kept back for the last call; ``final``: these too.
        """
        return self.most - self.seconds - (0.0 if final or math.isinf(self.most) else self.kept)

    @property
    def kept(self) -> float:
        """Seconds kept back for the last call."""
        return min(FINAL_SECONDS, FINAL_SHARE * self.most)

    @property
    def share(self) -> float:
        """The part of its time that is used."""
        return self.seconds / self.most if self.most else 1.0

    def check(self, *, final: bool = False) -> None:
        """Raise :class:`BudgetExceeded` once the time is used up."""
        if self.left(final=final) <= 0:
            kept = "" if final else f", {round(self.kept, 2):g} s are kept for the final answer"
            raise self.refusal(f"{self.seconds:.0f} of {round(self.most, 2):g} s are used{kept}")

    def refusal(self, why: str) -> BudgetExceeded:
        """The error that the time is up."""
        node = self.node if self._of_child else ""
        whose = f"max_seconds of node {node}" if node else "max_seconds"
        return BudgetExceeded("max_seconds", f"{whose}: {why}", node)

    def pause(self) -> Callable[[], None]:
        """Stop the clock; what is returned starts it again."""
        since = self._clock()

        def resume() -> None:
            self._began += self._clock() - since

        return resume
