"""From what a user writes (``openai:gpt-5-mini``, ``reader``, …) to a model that can be asked.

Keys: one given as an argument goes to the endpoint it was given for. ``OPENAI_API_KEY`` goes to
api.openai.com, to the endpoint that ``OPENAI_BASE_URL`` names, and to a ``base_url`` that the
caller passed, as with every client of this protocol. So a ``base_url`` that the user did not
write himself (a file in the folder he happens to be in) must come with its own ``api_key``, or
with ``""``, which sends none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from abyme.errors import ConfigError
from abyme.models.base import Model
from abyme.models.prices import names_of
from abyme.models.quoting import scrub, shown_url

if TYPE_CHECKING:
    from abyme.models.transport import Transport

OPENAI_URL = "https://api.openai.com/v1"

_OPENAI_NAME = re.compile(r"(gpt-|chatgpt-|codex-|ft:gpt-|o\d(-|$))")
_FORMS = "openai:NAME, NAME with a base_url, scripted:FILE, reader"
_NEAR = 0.75
"""How alike a name must be to be what was meant: at 0.6, "scripted" is like "curie"."""


def resolve(
    spec: str | Model,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    transport: Transport | None = None,
    environ: Mapping[str, str],
) -> Model:
    """The model that ``spec`` names.

    - ``openai:NAME``: at ``base_url``, else ``OPENAI_BASE_URL``, else api.openai.com
    - ``NAME`` (anything, colons included): at ``base_url`` or ``OPENAI_BASE_URL``; without them
      only names that are OpenAI's by their look (``gpt-…``, ``o3``, ``chatgpt-…``)
    - ``scripted:FILE``: replies from a file (:meth:`Scripted.from_file`)
    - ``reader``: the built-in extractive reader
    - a model object passes through

    ``transport`` is shared by all models of an engine; without one the model gets its own.
    Raises :class:`~abyme.errors.ConfigError`; nothing is sent.
    """
    if not isinstance(spec, str):
        return spec
    spec = spec.strip()
    if not spec:
        raise ConfigError(f"no model: give one of {_FORMS}")
    kind, colon, rest = spec.partition(":")
    if spec == "reader":
        return _reader()
    if kind == "scripted" and colon:
        return _scripted(rest)
    url = base_url if base_url is not None else environ.get("OPENAI_BASE_URL", "").strip() or None
    name = rest if kind == "openai" and colon else spec
    if not name.strip() or any(ord(character) <= 32 for character in name):
        raise ConfigError(scrub(f"{spec!r} is no model name: give one of {_FORMS}"))
    if url is None and name is spec and not _OPENAI_NAME.match(name):
        raise ConfigError(_unknown(spec))
    url = _checked_url(OPENAI_URL if url is None else url)
    return _openai(name, url, _key(url, api_key, environ), transport)


def _openai(name: str, base_url: str, api_key: str | None, transport: Transport | None) -> Model:
    from abyme.models.openai import OpenAIModel  # aiohttp: only for who asks over HTTP
    from abyme.models.transport import Transport

    return OpenAIModel(name, base_url=base_url, api_key=api_key, transport=transport or Transport())


def _scripted(path: str) -> Model:
    from abyme.models.scripted import Scripted

    if not path:
        raise ConfigError("scripted: needs a file of replies: scripted:FILE")
    return Scripted.from_file(path)


def _reader() -> Model:
    from abyme.models.reader import Reader

    return Reader()


def _key(url: str, api_key: str | None, environ: Mapping[str, str]) -> str | None:
    key = api_key if api_key is not None else environ.get("OPENAI_API_KEY", "")
    key = key.strip()
    if not key and urlsplit(url).hostname == urlsplit(OPENAI_URL).hostname:
        raise ConfigError(
            "no key for api.openai.com: set OPENAI_API_KEY, or pass --base-url for a server "
            "that needs none"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError("the API key has characters that no key has: was it copied whole?")
    return key or None


def _checked_url(url: str) -> str:
    """``url`` without a slash at its end. Raises where no request could go there."""
    advice = "give one like http://localhost:8000/v1"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port  # the port raises ValueError where it is none
    except ValueError as error:
        raise ConfigError(f"base_url {shown_url(url)!r} is no URL ({error}): {advice}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"base_url {shown_url(url)!r} must begin with http:// or https://: {advice}"
        )
    if any(character.isspace() for character in parts.geturl()):
        raise ConfigError(f"base_url {shown_url(url)!r} has a space in it: {advice}")
    return parts.geturl().rstrip("/")


def _unknown(spec: str) -> str:
    """What exists, and what was probably meant. A key that was pasted there is not shown."""
    kind, colon, rest = spec.partition(":")
    meant = ""
    if colon:
        close = difflib.get_close_matches(kind.lower(), ["openai", "scripted"], 1, _NEAR)
        meant = f"{close[0]}:{rest}" if close else ""
    else:
        names = {"scripted": "scripted:FILE", **{n: n for n in ("reader", *names_of("openai"))}}
        close = difflib.get_close_matches(spec.lower(), names, 1, _NEAR)
        meant = names[close[0]] if close else ""
    guess = f"did you mean {meant}? Else " if meant else ""
    return scrub(f"unknown model {spec!r}: {guess}give one of {_FORMS}")
