"""What looks like a key is never shown: in no error, no report, no log, wherever it was written.

Keys end up in the wrong place: pasted into the wrong setting, echoed by a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "[key]"

_KEY_LIKE = re.compile(
    r"\b(?:(?:sk|rk|pk|gsk|xai|key)[-_][\w*.-]{6,}|AIza[\w*-]{6,})|(?<=bearer )\S{6,}",
    re.IGNORECASE,
)
"""Keys as servers echo them, also masked ("sk-abc****wxyz"): four letters are four too many."""
_RANDOM = re.compile(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9+/=]{20,}")
"""Letters and digits that no name of a setting has. Names of models, files and hosts do."""


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with every secret, and whatever else looks like a key, replaced by ``[key]``.

    A word that only begins like a secret goes too: servers echo keys cut or masked.
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
        if len(secret) >= 12:
            text = re.sub(re.escape(secret[:8]) + r"\S*", HIDDEN, text)
    return _KEY_LIKE.sub(HIDDEN, text)


def scrub_names(text: str) -> str:
    """:func:`scrub` for what holds names of settings alone, where any random text is a key."""
    return _RANDOM.sub(HIDDEN, scrub(text))
