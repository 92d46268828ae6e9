"""What an error may say of an endpoint: never a secret, never a control character, one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

MAX_QUOTE = 120
MAX_LINE = 300

_KEY_LIKE = re.compile(
    r"\b(?:(?:sk|rk|pk|gsk|xai|key)[-_][\w*.-]{6,}|AIza[\w*-]{6,})|(?<=bearer )\S{6,}",
    re.IGNORECASE,
)
"""Keys as servers echo them, also masked ("sk-abc****wxyz"): four letters are four too many."""


def public_url(url: str) -> str:
    """``url`` without user, password, query and fragment: the form that may be shown and kept."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an address that cannot be read)"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def shown_url(url: str) -> str:
    """:func:`public_url`, short enough to stand in a line of ``MAX_LINE``."""
    return shorten(public_url(url), 140)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with every secret, and whatever else looks like a key, replaced by ``[key]``.

    A word that only begins like a secret goes too: servers echo keys cut or masked.
    """
    for secret in secrets:
        text = text.replace(secret, "[key]")
        if len(secret) >= 12:
            text = re.sub(re.escape(secret[:8]) + r"\S*", "[key]", text)
    return _KEY_LIKE.sub("[key]", text)


def excerpt(text: str, limit: int = MAX_QUOTE) -> str:
    """The beginning of ``text`` as one printable line of at most ``limit`` characters."""
    # Only the beginning is looked at: a body may be megabytes long.
    head = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    return shorten(" ".join(head.split()), limit)


def shorten(line: str, limit: int = MAX_LINE) -> str:
    """``line``, its end replaced by … where it is longer than ``limit`` characters."""
    return line if len(line) <= limit else line[: limit - 1] + "…"
