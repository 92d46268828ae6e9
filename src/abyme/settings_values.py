"""One setting at a time: its name, its kind, and one clear line where it is wrong.

Values come as TOML has them or as text (a variable of the environment, a flag); both end in the
types of :class:`abyme.settings.Settings`. No message shows a value that could be a key.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from abyme.config import Limits
from abyme.errors import ConfigError

TEXTS = ("model", "sub_model", "base_url", "api_key", "api_key_env", "runs")
PRICES = ("price", "sub_price")
LISTS = ("exclude", "local_servers")
TOP = (*TEXTS, *PRICES, *LISTS)
"""The keys above ``[limits]``."""
LIMITS = Limits.__struct_fields__
NO_LIMIT = "none"
"""What stands for no limit: TOML has no null."""

_NAMES = {bool: "true or false", int: "a number", float: "a number", str: "text", dict: "a table"}


def checked(name: str, value: object, where: str) -> Any:
    """The setting ``name`` as TOML or Python has it, in its own type; None where it says nothing.

    ``where`` begins the message: "./abyme.toml: " or "". Raises :class:`ConfigError`.
    """
    if name in TEXTS:
        return _text(name, value, where) or None
    if name in PRICES:
        return None if value == "" else _price(name, value, where)
    if name in LISTS:
        return _list(name, value, where)
    return _limit(name, value, where)


def from_text(name: str, text: str, where: str) -> Any:
    """The setting ``name`` as a variable or a flag has it: always text. Raises ConfigError."""
    text = text.strip()
    if name in LIMITS:
        return _limit(name, _number(text), where)
    return checked(name, text, where)


def no_limit(name: str, value: object) -> object:
    """``value`` of the limit ``name`` as :class:`Limits` has it: None for "none"."""
    return None if name in LIMITS and value == NO_LIMIT else value


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant; "" where none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, 0.7)), "")


def unknown_key(key: str, where: str, *, in_limits: bool) -> ConfigError:
    """The error for a key that does not exist, or not there."""
    key = key if key.isprintable() and len(key) <= 60 else "a long or unprintable key"
    if not in_limits and key in LIMITS:
        return ConfigError(f"{where}{key} is a limit: write it below the line [limits]")
    if in_limits and key in TOP:
        return ConfigError(f"{where}{key} is no limit: write it above the line [limits]")
    known = LIMITS if in_limits else (*TOP, "limits")
    meant = nearest(key, known)
    guess = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"
    place = " in [limits]" if in_limits else ""
    return ConfigError(f"{where}{key} is not known{place} in this version: {guess}")


def kind_of(value: object) -> str:
    """What a value of TOML is, in words."""
    return _NAMES.get(type(value), "a list" if isinstance(value, list | tuple) else "a date")


def _text(name: str, value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f'{where}{name} must be text in quotes ("…"), not {kind_of(value)}')
    if not value.isprintable():
        raise ConfigError(f"{where}{name} has a control character in it")
    return value.strip()


def _price(name: str, value: object, where: str) -> tuple[float, float]:
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, list | tuple) and len(parts) == 2:
        numbers = [_number(part) if isinstance(part, str) else part for part in parts]
        prompt, output = numbers
        if _is_price(prompt) and _is_price(output):
            return float(prompt), float(output)
    raise ConfigError(
        f'{where}{name} must be "IN,OUT", US dollars for a million tokens in and out, like "0.25,2"'
    )


def _is_price(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= 1e9 and math.isfinite(value)


def _list(name: str, value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f'{where}{name} must be a list of texts, like ["…", "…"]')
    items = tuple(filter(None, (_text(name, item, where) for item in value)))
    if name == "local_servers":
        for url in items:
            _check_url(url, where)
    return items


def _check_url(url: str, where: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or " " in url:
        raise ConfigError(f"{where}local_servers must be URLs like http://127.0.0.1:8000/v1")


def _limit(name: str, value: object, where: str) -> Any:
    if value == "":
        return None
    if value != NO_LIMIT and not isinstance(value, int | float):
        none = ' (or "none")' if isinstance(value, str) else ""
        raise ConfigError(f"{where}{name} must be a number{none}, not {kind_of(value)}")
    try:
        limit: dict[str, Any] = {name: no_limit(name, value)}
        Limits(**limit)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from None
    return value


def _number(text: str) -> Any:
    """The number that ``text`` is; else the text itself, for the check to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
