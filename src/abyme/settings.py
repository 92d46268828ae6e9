"""What is configured, and where each value was found: flags, environment, files.

Only the command reads files: ``RLM(...)`` takes its arguments and nothing else, so that what a
program does never depends on the folder that it is started in.

The order is flag > environment > ``./abyme.toml`` > the user's file. A stranger's folder must not
decide where data and keys go, nor what may be spent: its ``abyme.toml`` may set no base URL, key,
price, script, tools or sandbox, nor how journals are kept, and of limits only lower ones count.
``price``, ``sub_price`` and ``child_price`` belong to a model: they count only where no stronger
source names another model, since a wrong price would be taken for a known one. Which key goes to
which address is decided in :mod:`abyme.cli.keys`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from abyme.config import ChildLimits, Limits, children_above, is_above
from abyme.errors import ConfigError
from abyme.settings_file import FILE_NAME as FILE_NAME
from abyme.settings_file import check_folder, read_file, shown_path, values_of
from abyme.settings_values import (
    CHILD,
    LIMITS,
    LISTS,
    TOP,
    checked,
    from_text,
    nearest,
    no_limit,
)

CONFIG_VARIABLE = "ABYME_CONFIG"
_MEANT = {"ABYME_API_KEY": "OPENAI_API_KEY"}
_FLAG, _ENVIRONMENT, _FOLDER, _USER = range(4)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is configured, of all sources together. "" and None: not set."""

    model: str = ""
    """Drives the REPL: openai:NAME, any NAME with base_url, scripted:FILE, reader."""
    sub_model: str = ""
    """Answers llm_query; the same model where not set."""
    child_model: tuple[str, ...] | None = None
    """Drive the REPLs of children, one for each depth, the last for all below; else sub_model."""
    base_url: str = ""
    """An OpenAI-compatible endpoint, up to and with /v1."""
    api_key: str = ""
    """The key for this file's base_url (api.openai.com where it names none); better kept out."""
    api_key_env: str = ""
    """The name of the environment variable that holds that key."""
    price: tuple[float, float] | None = None
    """"IN,OUT": US dollars for a million tokens of model, where the price list lacks it."""
    sub_price: tuple[float, float] | None = None
    """"IN,OUT": the same for sub_model."""
    child_price: tuple[float, float] | None = None
    """"IN,OUT": the same for what of child_model is neither."""
    runs: str = ""
    """The folder for journals of runs."""
    sandbox: str = ""
    """Where code runs: process, bubblewrap, docker or podman."""
    image: str = ""
    """The image of docker's and podman's containers."""
    exclude: tuple[str, ...] | None = None
    """Patterns of what to leave out of directories."""
    local_servers: tuple[str, ...] | None = None
    """Model servers to look for where no model is set; an empty list looks for none."""
    cache: bool = False
    """Make equal sub-calls of a run once."""
    redact: bool = False
    """Keep hashes in the place of texts in journals; such runs cannot be gone on with."""
    durable: bool = False
    """Wait with every event until it is on the disk."""
    limits: Limits = Limits()
    """What one run may spend."""

    def __repr__(self) -> str:
        """All but the key."""
        fields = (
            f"{name}={'…' if name == 'api_key' and self.api_key else repr(getattr(self, name))}"
            for name in self.__struct_fields__
        )
        return f"Settings({', '.join(fields)})"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and where each comes from."""

    settings: Settings = Settings()
    origins: dict[str, str] = {}
    """For each value that is set: "--model", "ABYME_MODEL", "./abyme.toml"; limits by name."""
    files: tuple[Path, ...] = ()
    """The files that were read."""
    user_file: Path = Path(FILE_NAME)
    """Where the user's file is or would be."""
    own_base_url: str = ""
    """The user's file's base_url, also where a stronger source names another: its key is for it."""
    own_key: str = ""
    """Where that file's key comes from, as its origin; "" where it has none."""
    unknown: dict[str, str] = {}
    """Variables ABYME_… that mean nothing, each with the name that was probably meant, or ""."""
    warnings: tuple[str, ...] = ()
    ranks: dict[str, int] = {}
    """How strong the source of each value is; 0 is a flag."""

    refused: dict[str, Any] = {}
    """Limits that the folder's file asks for and that are above the user's own."""

    @property
    def unheeded(self) -> dict[str, Any]:
        """Of ``refused``, what neither a flag nor the environment decided."""
        return {n: v for n, v in self.refused.items() if self.ranks.get(n, _USER) == _USER}

    def origin(self, name: str) -> str:
        """Where the value of ``name`` comes from; "" where it is not set."""
        return self.origins.get(name, "")

    def is_weaker(self, name: str, other: str) -> bool:
        """Whether ``name`` comes from a weaker source than ``other``; both are set."""
        return self.ranks.get(name, _FLAG) > self.ranks.get(other, _FLAG)

    def over(self, **flags: Any) -> Loaded:
        """These settings with flags above them: fields of Settings and of Limits alike.

        None, "" and an empty list mean that a flag was not given. Texts are read as in the
        environment (``max_cost="none"``, ``price="0.25,2"``). Raises :class:`ConfigError`.
        """
        source = _Source(_FLAG)
        for name, value in flags.items():
            if value is None or value == "" or (name in LISTS and not value):
                continue
            flag = f"--{name.replace('_', '-')}"
            read = from_text if isinstance(value, str) else checked
            source.set(name, read(name, value, flag), flag)
        merged = _Merged(self.settings, dict(self.origins), dict(self.ranks))
        merged.put(source)
        return msgspec.structs.replace(
            self, settings=merged.settings, origins=merged.origins, ranks=merged.ranks
        )


def load_settings(
    environ: Mapping[str, str], folder: Path, user_file: Path | None = None
) -> Loaded:
    """What the environment, ``folder/abyme.toml`` and the user's file say together.

    ``user_file``: else what ``ABYME_CONFIG`` names, else abyme.toml in the user's folder for
    configuration. A file that is not there says nothing, but one that ``ABYME_CONFIG`` names must
    be. Raises :class:`ConfigError`, one line, for whatever is wrong in any of them.
    """
    own_path = user_file or user_config_file(environ)
    folder_path = folder / FILE_NAME
    own, own_mode = _read_own(own_path, environ if user_file is None else {})
    user = _Source(_USER)
    user.set_all(values_of(own, shown_path(own_path)), shown_path(own_path))
    local = _Source(_FOLDER)
    files = [own_path] if own is not None else []
    if own is None or not _same_file(folder_path, own_path):
        table, _ = read_file(folder_path, f"./{FILE_NAME}")
        if table is not None:
            files.insert(0, folder_path)
            check_folder(table, shown_path(own_path))
            local.set_all(values_of(table, f"./{FILE_NAME}"), f"./{FILE_NAME}")
    environment, unknown = _environment(environ)
    merged = _Merged(Settings(), {}, {})
    merged.put(user)
    refused = local.drop_above(merged.settings.limits)
    merged.put(local)
    merged.put(environment)
    key = next((name for name in ("api_key", "api_key_env") if name in user.values), "")
    return Loaded(
        settings=merged.settings,
        origins=merged.origins,
        ranks=merged.ranks,
        files=tuple(files),
        user_file=own_path,
        own_base_url=user.values.get("base_url", ""),
        own_key=f"{key} in {shown_path(own_path)}" if key else "",
        unknown=unknown,
        refused=refused,
        warnings=_open_to_others(user, own_path, own_mode),
    )


def user_config_file(environ: Mapping[str, str]) -> Path:
    """Where the user's file is: ``ABYME_CONFIG``, else the user's folder for configuration."""
    named = environ.get(CONFIG_VARIABLE, "").strip()
    if named:
        try:
            return Path(named).expanduser()
        except RuntimeError as error:
            raise ConfigError(f"{CONFIG_VARIABLE}={named}: {error}") from None
    import platformdirs  # 40 ms, and needed only here

    return platformdirs.user_config_path("abyme", appauthor=False) / FILE_NAME


def configured_runs(environ: Mapping[str, str]) -> str:
    """The folder for runs, "" where none is configured: of all settings the only one looked at.

    So a run can be shown whatever is wrong with the others. A folder's file cannot set it.
    """
    if environ.get("ABYME_RUNS", "").strip():
        return str(from_text("runs", environ["ABYME_RUNS"], "ABYME_RUNS"))
    path = user_config_file(environ)
    table, _ = _read_own(path, environ)
    value = (table or {}).get("runs", "")
    return checked("runs", value, f"{shown_path(path)}: runs") or ""


def _read_own(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any] | None, int]:
    """The user's file, which has to be there where ``ABYME_CONFIG`` names it."""
    table, mode = read_file(path, shown_path(path))
    if table is None and environ.get(CONFIG_VARIABLE, "").strip():
        raise ConfigError(
            f"{CONFIG_VARIABLE} names {shown_path(path)}, and there is no such file: "
            "abyme init --user writes it"
        )
    return table, mode


class _Source:
    """What one source says."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def set(self, name: str, value: Any, origin: str) -> None:
        """Keep ``value``, unless it says nothing."""
        if value is not None:
            self.values[name] = value
            self.origins[name] = origin

    def set_all(self, values: Mapping[str, Any], origin: str) -> None:
        """Keep all of ``values``."""
        for name, value in values.items():
            self.set(name, value, origin)

    def drop_above(self, limits: Limits) -> dict[str, Any]:
        """Take out, and return, the limits that are above ``limits``."""
        above = {}
        for name in LIMITS:
            if name not in self.values:
                continue
            value = no_limit(name, self.values[name])
            if name == "children":
                is_over = bool(children_above(value, limits))
            else:
                is_over = is_above(value, getattr(limits, name))
            if is_over:
                above[name] = value
                del self.values[name], self.origins[name]
        return above


class _Merged:
    """Sources laid over each other, the weakest first."""

    def __init__(self, settings: Settings, origins: dict[str, str], ranks: dict[str, int]) -> None:
        self.settings = settings
        self.origins = origins
        self.ranks = ranks

    def put(self, source: _Source) -> None:
        """Lay ``source`` over what is there; prices of a model that it replaces go."""
        top = {name: value for name, value in source.values.items() if name in TOP}
        limits = {n: no_limit(n, value) for n, value in source.values.items() if n in LIMITS}
        of_child = {
            CHILD[n]: no_limit(n, value) for n, value in source.values.items() if n in CHILD
        }
        if of_child:
            children = limits.get("children", self.settings.limits.children) or (ChildLimits(),)
            limits["children"] = tuple(
                msgspec.structs.replace(each, **of_child) for each in children
            )
        for name in source.values:
            shown = "children" if name in CHILD else name
            self.origins[shown], self.ranks[shown] = source.origins[name], source.rank
        sub = "sub_model" if "sub_model" in self.origins else "model"
        child = "child_model" if "child_model" in self.origins else sub
        for price, model in (("price", "model"), ("sub_price", sub), ("child_price", child)):
            replaced = model in top and price not in top
            if replaced and self.ranks.get(price, -1) > source.rank:
                top[price] = None
                del self.origins[price], self.ranks[price]
        self.settings = msgspec.structs.replace(
            self.settings, **top, limits=msgspec.structs.replace(self.settings.limits, **limits)
        )


def _environment(environ: Mapping[str, str]) -> tuple[_Source, dict[str, str]]:
    """What the environment says, and its ABYME_ variables that nobody knows."""
    source = _Source(_ENVIRONMENT)
    url = environ.get("OPENAI_BASE_URL", "").strip()
    source.set("base_url", url or None, "OPENAI_BASE_URL")
    variables = {f"ABYME_{name.upper()}": name for name in (*TOP, *LIMITS, *CHILD)}
    del variables["ABYME_API_KEY"], variables["ABYME_API_KEY_ENV"]  # a key has its variable
    del variables["ABYME_CHILDREN"]  # as tables in a file, or one by one
    for variable, name in variables.items():
        text = environ.get(variable)
        if text is None or (not text.strip() and name != "local_servers"):
            continue
        if name in LISTS:
            parts = text.split(os.pathsep if name == "exclude" else ",")
            value = checked(name, parts, variable)
        else:
            value = from_text(name, text, variable)
        source.set(name, value, variable)
    known = {*variables, CONFIG_VARIABLE, "ABYME_TRACEBACK"}
    strange = sorted(v for v in environ if v.startswith("ABYME_") and v not in known)
    return source, {v: _MEANT.get(v) or nearest(v, known) for v in strange}


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _open_to_others(user: _Source, path: Path, mode: int) -> tuple[str, ...]:
    if "api_key" not in user.values or not mode & 0o077:
        return ()
    return (f"{shown_path(path)} holds a key and others can read it: chmod 600 {shown_path(path)}",)
