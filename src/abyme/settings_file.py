"""One file of settings: read with care, parsed, and checked key by key.

It may be a stranger's: whatever lies under its name, reading it ends, and it may set only what a
folder is allowed to decide.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abyme.errors import ConfigError
from abyme.secrets import scrub_names
from abyme.settings_values import LIMITS, TOP, checked, kind_of, unknown_key

FILE_NAME = "abyme.toml"
_MAX_BYTES = 64_000
_MAX_LINE = 1_000
"""A key of many parts between dots takes the square of their number: 400 kB of it, 100 GB."""


def shown_path(path: Path) -> str:
    """``path`` with ~ for the user's home."""
    home = os.environ.get("HOME", "").rstrip("/")
    text = str(path)
    return f"~{text[len(home) :]}" if home and text.startswith(f"{home}/") else text


def read_file(path: Path, shown: str) -> tuple[dict[str, Any] | None, int]:
    """A file's table and mode; None where there is no file."""
    try:
        # O_NONBLOCK: a FIFO of that name must be noticed, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None, 0
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "folder" if stat.S_ISDIR(mode) else "device or pipe"
            raise ConfigError(f"{shown} is a {kind}, not a file: move it away or rename it")
        raw = os.read(descriptor, _MAX_BYTES + 1)  # a regular file gives all that it has
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{shown} is larger than 64 kB: that is no file of settings")
    return _parse(raw, shown), mode


def _parse(raw: bytes, shown: str) -> dict[str, Any]:
    for number, text in enumerate(raw.split(b"\n"), 1):
        if len(text) > _MAX_LINE:
            raise ConfigError(f"{shown}: line {number} is longer than 1,000 characters: break it")
    import tomllib  # 15 ms, and needed only where there is a file

    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{shown} is not UTF-8 text (line {line}): save it as UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{shown} is nested too deeply for a file of settings") from None
    except ValueError as error:
        raise ConfigError(f"{shown} is not valid TOML: {scrub_names(str(error))}") from None


def values_of(table: Mapping[str, Any] | None, shown: str) -> dict[str, Any]:
    """All that a file sets, checked, its limits beside the rest."""
    where = f"{shown}: "
    values: dict[str, Any] = {}
    for key, value in (table or {}).items():
        if key == "limits":
            if not isinstance(value, dict):
                raise ConfigError(f"{where}limits must be a table, not {kind_of(value)}")
            values.update(_limits(value, where))
        elif key in TOP:
            values[key] = checked(key, value, f"{where}{key}")
        else:
            raise unknown_key(key, where, in_limits=False)
    if values.get("api_key") and values.get("api_key_env"):
        raise ConfigError(f"{where}give api_key or api_key_env, not both")
    return values


def _limits(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in table:
        if key not in LIMITS:
            raise unknown_key(key, where, in_limits=True)
    return {key: checked(key, value, f"{where}{key}") for key, value in table.items()}


def check_folder(table: Mapping[str, Any], user_file: str) -> None:
    """Refuse what a folder must not decide for whoever stands in it."""
    for key, instead in _FOREIGN.items():
        if key in table:
            place = instead.format(user_file=user_file)
            raise ConfigError(
                f"./{FILE_NAME}: {key} may not be set by a folder; set it with {place}"
            )
    for key in ("model", "sub_model", "child_model"):
        named = table.get(key, "")
        names = named if isinstance(named, list) else [named]
        if any(_is_script(name) for listed in names for name in str(listed).split(",")):
            raise ConfigError(
                f"./{FILE_NAME}: {key} may not be a script in a folder's file: its replies are "
                f"code that is run; give --{key.replace('_', '-')} scripted:FILE"
            )


def _is_script(model: str) -> bool:
    kind, colon, _ = model.strip().partition(":")
    return kind == "scripted" and bool(colon)


_FOREIGN = {
    "base_url": "--base-url, ABYME_BASE_URL or in {user_file}",
    "api_key": "OPENAI_API_KEY, or in {user_file}",
    "api_key_env": "OPENAI_API_KEY, or in {user_file}",
    "price": "--price, ABYME_PRICE or in {user_file}",
    "sub_price": "--sub-price, ABYME_SUB_PRICE or in {user_file}",
    "child_price": "--child-price, ABYME_CHILD_PRICE or in {user_file}",
    "runs": "--runs, ABYME_RUNS or in {user_file}",
    "local_servers": "ABYME_LOCAL_SERVERS or in {user_file}",
    "tools": "RLM(…, tools=[…]) from Python",
    "sandbox": "--sandbox, ABYME_SANDBOX or in {user_file}",
    "image": "--image, ABYME_IMAGE or in {user_file}",
    "cache": "--cache, ABYME_CACHE or in {user_file}",
    "redact": "--redact, ABYME_REDACT or in {user_file}",
    "durable": "--durable, ABYME_DURABLE or in {user_file}",
}
