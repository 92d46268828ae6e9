"""Tokens from characters, before an endpoint has counted them."""

from __future__ import annotations

import math


class TokenEstimator:
    """Guesses tokens from characters, for each model by what its endpoint has counted so far."""

    FIRST = 3.5
    """Characters a token before anything was seen: between code (3) and English prose (4)."""
    LEAST, MOST = 1.0, 8.0
    """Bounds of what is believed, against an endpoint that counts something else."""
    WEIGHT = 0.2
    """Weight of the newest observation in the exponential average."""
    SHORT = 400
    """Requests of fewer characters teach nothing: the wire's own tokens would dominate."""

    def __init__(self) -> None:
        self._characters_a_token: dict[str, float] = {}

    def tokens(self, model: str, characters: int) -> int:
        """Tokens that ``characters`` of ordinary text are likely to be for ``model``."""
        return math.ceil(characters / self._characters_a_token.get(model, self.FIRST))

    def fits(self, model: str, window: int, max_output: int) -> int:
        """Characters of a prompt that leave room for the reply in a window of ``window`` tokens."""
        room = max(window // 4, window - max_output)
        return int(room * self._characters_a_token.get(model, self.FIRST))

    def observe(self, model: str, characters: int, tokens: int) -> None:
        """The endpoint counted ``tokens`` for a request of ``characters``."""
        if characters < self.SHORT or tokens <= 0:
            return
        seen = min(self.MOST, max(self.LEAST, characters / tokens))
        before = self._characters_a_token.get(model, self.FIRST)
        self._characters_a_token[model] = before + self.WEIGHT * (seen - before)
