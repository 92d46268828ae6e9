"""What an error may say of an endpoint: never a secret, never a control character, one line."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from abyme.secrets import scrub as scrub

MAX_QUOTE = 120
MAX_LINE = 300


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


def excerpt(text: str, limit: int = MAX_QUOTE) -> str:
    """The beginning of ``text`` as one printable line of at most ``limit`` characters."""
    # Only the beginning is looked at: a body may be megabytes long.
    head = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    return shorten(" ".join(head.split()), limit)


def shorten(line: str, limit: int = MAX_LINE) -> str:
    """``line``, its end replaced by … where it is longer than ``limit`` characters."""
    return line if len(line) <= limit else line[: limit - 1] + "…"
