"""``abyme init``: writes an abyme.toml in which every setting is explained and none is set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from abyme.config import Limits
from abyme.errors import ConfigError
from abyme.models.local import DEFAULT
from abyme.settings import FILE_NAME, user_config_file
from abyme.settings_file import shown_path
from abyme.settings_values import NO_LIMIT

_FOLDER_HEAD = """\
# Settings of abyme for whoever asks in this folder. As written, this file changes nothing:
# take the # off a line to set what it says. Flags and the variables ABYME_… go before this
# file, and this file goes before the user's own, which `abyme init --user` writes; only there
# may addresses, keys, prices, a sandbox and the folder for runs be set. Limits count here
# where they are lower than the user's own.
"""
_USER_HEAD = """\
# Your settings of abyme. As written, this file changes nothing: take the # off a line to set
# what it says. Flags, the variables ABYME_…, OPENAI_BASE_URL and a folder's own abyme.toml go
# before this file.
"""

_MODEL: dict[str, tuple[Any, str]] = {
    "model": ("", 'drives the REPL: "openai:NAME", "NAME" with a base_url, "reader"'),
    "sub_model": ("", "answers llm_query; the same model where not set"),
    "child_model": ([], "drive children's REPLs, one for each depth; sub_model where not set"),
}
_PRICES: dict[str, tuple[Any, str]] = {
    "price": ("", 'of model, where it is not known: "IN,OUT", US dollars for a million tokens'),
    "sub_price": ("", "the same of sub_model"),
    "child_price": ("", "the same of what of child_model is neither"),
}
_USER: dict[str, tuple[Any, str]] = {
    "base_url": ("", 'an OpenAI-compatible endpoint, like "http://127.0.0.1:8000/v1"'),
    "api_key_env": ("", "the name of the variable that holds the key for this base_url"),
    "api_key": ("", "the key itself, for this base_url and no other address; better a variable"),
    "local_servers": (list(DEFAULT), "looked for where no model is set; [] looks for none"),
    "runs": ("", "the folder for journals; your user data directory where not set"),
    "sandbox": ("", 'where code runs: "process", "bubblewrap", "docker", "podman"'),
    "image": ("", "for docker and podman; it needs Python 3.11 and is never fetched"),
    "cache": (False, "make equal sub-calls of a run once"),
    "redact": (False, "journals keep hashes, no texts; such runs cannot be gone on with"),
    "durable": (False, "wait with every event of a journal until it is on the disk"),
}
_DATA: dict[str, tuple[Any, str]] = {
    "exclude": ([], 'left out of directories, like ["*.log", "build"]; --exclude replaces it'),
}
_LIMITS = {
    "max_turns": "replies of the root that are followed by running code",
    "max_calls": "model calls, the root's own included",
    "max_tokens": "input and output tokens together",
    "max_input_tokens": "input tokens alone",
    "max_output_tokens": "output tokens alone",
    "max_cost": "US dollars; binds where the prices of the models are known",
    "max_seconds": "from the start of a run to its answer",
    "max_depth": "of recursion; 1: sub-calls are plain model calls",
    "max_width": "model calls in flight at once; with none as many as the endpoint bears",
    "cell_seconds": "that one cell may compute",
    "call_seconds": "that one model call may take, all its attempts included",
    "children": "of a child, depth by depth, like [{max_turns = 15, max_cost = 0.5}]",
}


def run(
    environ: Mapping[str, str], folder: Path, *, user: bool = False, force: bool = False
) -> str:
    """Write ``folder/abyme.toml``, or the user's file; the lines to print.

    Raises :class:`ConfigError` where it is there already, unless ``force``, or cannot be written.
    """
    path = user_config_file(environ) if user else folder / FILE_NAME
    shown = shown_path(path) if user else f"./{FILE_NAME}"
    try:
        if user:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, template(user=user), 0o600 if user else 0o666, force)
    except FileExistsError:
        raise ConfigError(f"{shown} is there already: --force writes over it") from None
    except OSError as error:
        raise ConfigError(f"cannot write {shown}: {error.strerror}") from None
    return (
        f"wrote {shown}: every setting with its default, none of them set\n"
        "next: take the # off what you want to change; abyme doctor shows what counts then"
    )


def template(*, user: bool) -> str:
    """The file's text: lines ``#key = default`` below ``# explanations``."""
    return "\n".join(_lines(user))


def _lines(user: bool) -> Iterator[str]:
    yield _USER_HEAD if user else _FOLDER_HEAD
    for rows in ({**_MODEL, **_PRICES}, _USER, _DATA) if user else (_MODEL, _DATA):
        for key, (value, about) in rows.items():
            yield f"# {about}"
            yield f"#{key} = {json.dumps(value)}"
        yield ""
    yield f'# What one run may spend. "{NO_LIMIT}" is no limit, where that is possible.'
    yield "[limits]"
    defaults = Limits()
    for key in Limits.__struct_fields__:
        value = getattr(defaults, key)
        yield f"# {_LIMITS[key]}"
        yield f"#{key} = {json.dumps(NO_LIMIT if value is None else value)}"
    yield ""


def _write(path: Path, text: str, mode: int, force: bool) -> None:
    """Write a file that is not there yet; with ``force`` in place of one that is."""
    target = path.with_name(f".{path.name}.{os.getpid()}") if force else path
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if force:
            target.replace(path)
    except OSError:
        target.unlink(missing_ok=True)
        raise
