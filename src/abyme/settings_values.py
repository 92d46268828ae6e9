"""One setting at a time: its name, its kind, and one clear line where it is wrong.

Values come as TOML has them or as text (a variable of the environment, a flag); both end in the
types of :class:`abyme.settings.Settings`. No message shows a value that could be a key. Each
begins with what the user knows the setting by: a flag, a variable, a file and its key.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from abyme.config import OPTIONAL, ChildLimits, Limits, children_problem, limit_problem
from abyme.errors import ConfigError
from abyme.secrets import HIDDEN, scrub_names

TEXTS = (
    "model", "sub_model", "base_url", "api_key", "api_key_env", "runs", "sandbox", "image"
)  # fmt: skip
SANDBOXES = ("process", "bubblewrap", "docker", "podman")
PRICES = ("price", "sub_price", "child_price")
LISTS = ("exclude", "local_servers", "child_model")
SWITCHES = ("cache", "redact", "durable")
TOP = (*TEXTS, *PRICES, *LISTS, *SWITCHES)
"""The keys above ``[limits]``."""
LIMITS = Limits.__struct_fields__
CHILD = {f"child_{name.removeprefix('max_')}": name for name in ChildLimits.__struct_fields__}
"""Flags and variables that set one limit of all children, each with the limit's name."""
NO_LIMIT = "none"
"""What stands for no limit: TOML has no null."""

_SWITCHED = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NAMES = {int: "a number", float: "a number", str: "text", dict: "a table"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CAPITALS = re.compile(r"[A-Z_]+")


def checked(name: str, value: object, called: str) -> Any:
    """The setting ``name`` as TOML or Python has it, in its own type; None where it says nothing.

    ``called`` begins the message: "./abyme.toml: model" or "--model". Raises
    :class:`ConfigError`.
    """
    if name == "api_key_env":
        return _variable(value, called) or None
    if name == "sandbox":
        return _sandbox(value, called) or None
    if name in TEXTS:
        return _text(value, called) or None
    if name in PRICES:
        return None if value == "" else _price(value, called)
    if name in LISTS:
        return _list(name, value, called)
    if name in SWITCHES:
        return _switch(value, called)
    if name == "children":
        return _children(value, called)
    return _limit(CHILD.get(name, name), value, called)


def from_text(name: str, text: str, called: str) -> Any:
    """The setting ``name`` as a variable or a flag has it: always text. Raises ConfigError."""
    text = text.strip()
    return checked(name, _number(text) if name in LIMITS or name in CHILD else text, called)


def no_limit(name: str, value: Any) -> Any:
    """``value`` of the limit ``name`` as :class:`Limits` has it: None for "none"."""
    return None if (name in LIMITS or name in CHILD) and value == NO_LIMIT else value


def as_toml(value: object) -> str:
    """A value as a file of settings has it, None being no limit."""
    if isinstance(value, tuple) and any(isinstance(each, ChildLimits) for each in value):
        return f"[{', '.join(map(_table, value))}]"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(NO_LIMIT if value is None else value, ensure_ascii=False)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant; "" where none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, 0.7)), "")


def unknown_key(key: str, where: str, *, in_limits: bool) -> ConfigError:
    """The error for a key that does not exist, or not there."""
    key = shown_key(key)
    if not in_limits and key in LIMITS:
        return ConfigError(f"{where}{key} is a limit: write it below the line [limits]")
    if in_limits and key in TOP:
        return ConfigError(f"{where}{key} is no limit: write it above the line [limits]")
    if key in CHILD:
        return ConfigError(f"{where}{key} is a flag: write children = [{{{CHILD[key]} = …}}]")
    known = LIMITS if in_limits else (*TOP, "limits")
    meant = nearest(key, known)
    guess = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"
    place = " in [limits]" if in_limits else ""
    return ConfigError(f"{where}{key} is not known{place} in this version: {guess}")


def shown_key(key: str) -> str:
    """A key that nobody knows, as it may be shown."""
    if HIDDEN in scrub_names(key):
        return "a name that looks like a secret"
    return key if key.isprintable() and len(key) <= 60 else "a long or unprintable key"


def kind_of(value: object) -> str:
    """What a value of TOML is, in words."""
    if isinstance(value, bool):
        return as_toml(value)
    return _NAMES.get(type(value), "a list" if isinstance(value, list | tuple) else "a date")


def _text(value: object, called: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f'{called} must be text in quotes ("…"), not {kind_of(value)}')
    if not value.isprintable():
        raise ConfigError(f"{called} has a control character in it")
    return value.strip()


def _sandbox(value: object, called: str) -> str:
    text = _text(value, called)
    if text and text not in SANDBOXES:
        raise ConfigError(f"{called} must be one of {', '.join(SANDBOXES)}")
    return text


def _variable(value: object, called: str) -> str:
    """The name of a variable; a key that was pasted there instead is not shown."""
    text = _text(value, called)
    looks_secret = HIDDEN in scrub_names(text) and not _CAPITALS.fullmatch(text)
    if text and (looks_secret or not _VARIABLE.fullmatch(text)):
        raise ConfigError(
            f"{called} must be the name of a variable, like MY_SERVER_KEY; what stands there is "
            "none: is it the key itself?"
        )
    return text


def _price(value: object, called: str) -> tuple[float, float]:
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, list | tuple) and len(parts) == 2:
        numbers = [_number(part) if isinstance(part, str) else part for part in parts]
        prompt, output = numbers
        if _is_price(prompt) and _is_price(output):
            return float(prompt), float(output)
    raise ConfigError(
        f'{called} must be "IN,OUT", US dollars for a million tokens in and out, like "0.25,2"'
    )


def _is_price(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= 1e9 and math.isfinite(value)


def _list(name: str, value: object, called: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f'{called} must be a list of texts, like ["…", "…"]')
    if name == "child_model":
        value = [part for item in value for part in item.split(",")]
    items = tuple(filter(None, (_text(item, called) for item in value)))
    if name == "local_servers":
        for url in items:
            _check_url(url, called)
    return items


def _switch(value: object, called: str) -> bool | None:
    if value == "":
        return None
    if isinstance(value, str):
        value = _SWITCHED.get(value.lower(), value)
    if not isinstance(value, bool):
        raise ConfigError(f"{called} must be true or false, not {kind_of(value)}")
    return value


def _check_url(url: str, called: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or " " in url:
        raise ConfigError(f"{called} must be URLs like http://127.0.0.1:8000/v1")


def _limit(name: str, value: object, called: str) -> Any:
    if value == "":
        return None
    if isinstance(value, str) and value.lower() == NO_LIMIT:
        if name in OPTIONAL:
            return NO_LIMIT
        raise ConfigError(f'{called} must be a number: "{NO_LIMIT}" is only for {_some(OPTIONAL)}')
    if isinstance(value, bool) or not isinstance(value, int | float):
        none = f' or "{NO_LIMIT}"' if name in OPTIONAL else ""
        raise ConfigError(f"{called} must be a number{none}, not {kind_of(value)}")
    if problem := limit_problem(name, value, f'"{NO_LIMIT}"'):
        raise ConfigError(f"{called} {problem}")
    return value


def _children(value: object, called: str) -> tuple[ChildLimits, ...]:
    """A list of tables, one for each depth."""
    if not isinstance(value, list | tuple) or not all(isinstance(each, dict) for each in value):
        raise ConfigError(f"{called} must be a list of tables, like [{{max_turns = 15}}]")
    children = tuple(_child(table, f"{called}: ") for table in value)
    if problem := children_problem(children):
        raise ConfigError(f"{called} {problem}")
    return children


def _child(table: dict[str, Any], where: str) -> ChildLimits:
    known = ChildLimits.__struct_fields__
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}a child has {_some(known)}, no {shown_key(key)}")
    limits = {key: _limit(key, value, f"{where}{key}") for key, value in table.items()}
    return ChildLimits(**{key: no_limit(key, value) for key, value in limits.items()})


def _table(child: ChildLimits) -> str:
    """One child's limits as a table of TOML: those that are not the default."""
    default = msgspec.structs.asdict(ChildLimits())
    own = msgspec.structs.asdict(child)
    parts = [f"{name} = {as_toml(own[name])}" for name in own if own[name] != default[name]]
    return f"{{{', '.join(parts)}}}"


def _some(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}"


def _number(text: str) -> Any:
    """The number that ``text`` is; else the text itself, for the check to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
