"""Which runs somebody asks for."""

from __future__ import annotations

import msgspec

from abyme.journal.summary import RunStatus, RunSummary, time_of


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a run must have to be listed; all of it. Case does not count, nor how words are spaced.

    ``statuses``: one of them, any where empty. ``model``: a part of the model's or the sub-model's
    name. ``since``: started then or later, in seconds since 1970. ``words``: each stands in the
    question, the reason, the models' names or the names of the first documents.
    """

    statuses: frozenset[RunStatus] = frozenset()
    model: str = ""
    since: float = 0.0
    words: tuple[str, ...] = ()

    def matches(self, summary: RunSummary) -> bool:
        """Whether ``summary`` has all of it."""
        if self.statuses and summary.status not in self.statuses:
            return False
        if time_of(summary) < self.since or plain(self.model) not in models_text(summary):
            return False
        text = searched_text(summary) if self.words else ""
        return all(plain(word) in text for word in self.words)


EVERYTHING = Wanted()


def plain(text: str) -> str:
    """``text`` as it is compared: no case, one space between words, no line break."""
    return " ".join(text.split()).casefold()


def models_text(summary: RunSummary) -> str:
    """The names that ``model`` is looked for in, one a line."""
    return "\n".join(map(plain, (summary.model, summary.sub_model, *summary.child_models)))


def searched_text(summary: RunSummary) -> str:
    """What words are looked for in, one a line, so that none is found across two."""
    parts = (summary.question, summary.reason, summary.problem, *summary.documents)
    return "\n".join([*map(plain, parts), models_text(summary)])
