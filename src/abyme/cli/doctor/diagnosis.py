"""What ``abyme doctor`` says of each part: one :class:`Item` a fact, problems with what to do."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from abyme.cli.doctor.probes import look_at_runs, try_worker
from abyme.cli.model_choice import ADVICE, Choice, default_model, is_built_in
from abyme.cli.sandboxes import chosen_sandbox, installed
from abyme.cli.text import bytes_text, plural
from abyme.config import Limits, runs_folder
from abyme.errors import ConfigError, ModelError, SandboxError
from abyme.models.base import Model
from abyme.models.local import LocalServer, models_at
from abyme.models.prices import price_of_model
from abyme.models.proxies import is_loopback
from abyme.models.quoting import scrub, shown_url
from abyme.models.registry import OPENAI_URL, resolve
from abyme.settings import FILE_NAME, Loaded
from abyme.settings_file import shown_path
from abyme.settings_values import as_toml
from abyme.version import __version__

OK: Literal["ok"] = "ok"
WARNING: Literal["warning"] = "warning"
PROBLEM: Literal["problem"] = "problem"

PACKAGES = (
    "aiohttp", "charset-normalizer", "click", "msgspec", "platformdirs", "rich"
)  # fmt: skip
_LITTLE = 200_000_000
"""Bytes on a disk below which a run may not be kept to its end."""
_SHOWN_MODELS = 5
_LOGIN = re.compile(r"//[^/@\s]*@")


class Item(NamedTuple):
    """One fact. A problem is what keeps a run from being made."""

    name: str
    text: str
    state: Literal["ok", "warning", "problem"] = OK


class ModelFound(NamedTuple):
    """What ``abyme ask`` would use."""

    items: list[Item]
    choice: Choice | None
    """None where none could be made."""
    priced: bool = True


def versions() -> list[Item]:
    """Abyme, Python, the system, and what Abyme needs."""
    missing, found = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    items = [
        Item("abyme", __version__),
        Item("python", platform.python_version()),
        Item("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        Item("packages", ", ".join(found)),
    ]
    if platform.system() != "Linux":
        items[2] = items[2]._replace(text=f"{items[2].text}: only tried on Linux", state=WARNING)
    if missing:
        items.append(Item("missing", f"{', '.join(missing)}: install abyme again", PROBLEM))
    return items


def configuration(loaded: Loaded, environ: Mapping[str, str], broken: str) -> list[Item]:
    """Files, values and their origins, keys by the name of their place."""
    if broken:
        return [Item("settings", broken, PROBLEM)]
    own = shown_path(loaded.user_file)
    files = [own if path == loaded.user_file else f"./{FILE_NAME}" for path in loaded.files]
    none = "" if own in files else own
    items = [
        Item("files read", ", ".join(files) or "none"),
        *([Item("not there", none)] if none else []),
    ]
    for name, origin in sorted(loaded.origins.items()):
        items.append(Item(name, f"{_value(loaded, name)} ({origin})"))
    for name, value in loaded.unheeded.items():
        own = as_toml(getattr(loaded.settings.limits, name))
        text = f"./{FILE_NAME} asks for {as_toml(value)}, more than your own {own}: not counted"
        items.append(Item(name, text, WARNING))
    for variable in ("OPENAI_API_KEY", loaded.settings.api_key_env):
        if variable and variable not in [item.name for item in items]:
            set_here = environ.get(variable, "").strip()
            items.append(Item(variable, "set" if set_here else "not set"))
    items += [Item("key", warning, WARNING) for warning in loaded.warnings]
    for variable, meant in loaded.unknown.items():
        guess = f"did you mean {meant}?" if meant else "it changes nothing"
        items.append(Item(variable, f"is not known: {guess}", WARNING))
    return items


def _value(loaded: Loaded, name: str) -> str:
    """A setting as it may be shown."""
    if name in Limits.__struct_fields__:
        value = getattr(loaded.settings.limits, name)
        return "no limit" if value is None else f"{value:,}"
    value = getattr(loaded.settings, name)
    if name == "api_key":
        return "set"
    if name == "base_url":
        return _address(value)
    if name in ("price", "sub_price", "child_price"):
        return _dollars(*value)
    if isinstance(value, tuple):
        shown = [shown_url(url) for url in value] if name == "local_servers" else value
        return ", ".join(shown) or "none"
    return scrub(str(value))


def _address(url: str) -> str:
    """A URL without what could be a secret in it."""
    return shown_url(url) + (" with a login" if _LOGIN.search(url) else "")


def _dollars(prompt: float, output: float) -> str:
    return f"${prompt:g} in, ${output:g} out, for a million tokens"


def model(
    loaded: Loaded, environ: Mapping[str, str], servers: Sequence[LocalServer], *, check: bool
) -> ModelFound:
    """What ``abyme ask`` would use now, and why."""
    settings = loaded.settings
    if not settings.model and settings.base_url and not (check or _is_here(settings.base_url)):
        item = Item(
            "model",
            f"not set: abyme ask will ask {shown_url(settings.base_url)} what it serves, and use "
            "the one model that it finds (--check asks now)",
            WARNING,
        )
        return ModelFound([item], None)
    try:
        choice = default_model(loaded, environ, servers)
        found = _resolve(choice.model, choice, environ)
        sub = _resolve(choice.sub_model, choice, environ) if choice.sub_model else None
        children = [_resolve(name, choice, environ) for name in choice.child_models]
    except ConfigError as error:
        return ModelFound([Item("model", _without_secrets(str(error), loaded), PROBLEM)], None)
    why = choice.note.replace(ADVICE, "") or f"set by {loaded.origin('model')}"
    items = [Item("model", _at(found)), Item("why", why), *_about(found, choice)]
    priced, price = _price(found, settings.price, "price")
    items.append(price)
    if sub is not None:
        sub_priced, price = _price(sub, settings.sub_price or settings.price, "its price")
        items += [Item("sub-calls", _at(sub)), price]
        priced = priced and sub_priced
    for child in children:
        child_priced, price = _price(child, settings.child_price, "its price")
        items += [Item("children", _at(child)), price]
        priced = priced and child_priced
    if check:
        items += _checked(choice, environ)
    return ModelFound(items, choice, priced)


def _without_secrets(text: str, loaded: Loaded) -> str:
    """``text`` without the key of the user's file, and without logins in addresses."""
    key = loaded.settings.api_key
    return _LOGIN.sub("//", scrub(text, [key] if key else []))


def _resolve(name: str, choice: Choice, environ: Mapping[str, str]) -> Model:
    return resolve(name, base_url=choice.base_url, api_key=choice.api_key, environ=environ)


def _is_here(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return True  # nothing can be sent there


def _at(model: Model) -> str:
    return model.name.removeprefix("openai:") + (f" at {model.endpoint}" if model.endpoint else "")


def _about(model: Model, choice: Choice) -> list[Item]:
    """Its key and its window."""
    if is_built_in(choice.model):
        return []
    return [
        Item("key", f"{choice.key_from} is sent" if choice.key_from else "none is sent"),
        Item("window", f"{model.window:,} tokens, as far as its name tells"),
    ]


def _price(model: Model, given: tuple[float, float] | None, name: str) -> tuple[bool, Item]:
    known = price_of_model(model)
    if known is not None:
        free = not (known.input or known.output)
        return True, Item(name, "free" if free else _dollars(known.input, known.output))
    if given is not None:
        return True, Item(name, f"{_dollars(*given)}, as set")
    text = "not known: costs are not counted and max_cost does not bind"
    return False, Item(name, text, WARNING)


def _checked(choice: Choice, environ: Mapping[str, str]) -> list[Item]:
    """Whether the endpoint answers and knows the model; costs no tokens."""
    if is_built_in(choice.model):
        return []
    url = choice.base_url or OPENAI_URL
    key = environ.get("OPENAI_API_KEY", "") if choice.api_key is None else choice.api_key
    try:
        names = models_at(url, key.strip())
    except ModelError as error:
        return [Item("check", str(error), PROBLEM)]
    name = choice.model.removeprefix("openai:")
    answers = f"{shown_url(url)} answers and lists {plural(len(names), 'model')}"
    if name in names:
        return [Item("check", f"{answers}, {name} too")]
    return [Item("check", f"{answers}, but not {name}", WARNING)]


def local_servers(asked: Sequence[str], servers: Sequence[LocalServer]) -> list[Item]:
    """Where was looked, who answered, with which models."""
    if not asked:
        return [Item("looked at", "none: local_servers is empty")]
    items = [Item("looked at", ", ".join(map(shown_url, asked)))]
    if not servers:
        items.append(Item("answering", "none"))
    for server in servers:
        named = ", ".join(server.models[:_SHOWN_MODELS]) or "no model yet"
        rest = len(server.models) - _SHOWN_MODELS
        more = f" and {rest:,} more" if rest > 0 else ""
        items.append(Item(server.name, f"{server.url}: {named}{more}"))
    return items


def sandbox(loaded: Loaded) -> list[Item]:
    """Whether a worker really runs, what holds the code in it, and what else there is."""
    box = chosen_sandbox(loaded)
    try:
        tried = try_worker(box)
    except (SandboxError, OSError) as error:
        if box.name != "process":
            return [Item("kind", box.name), Item("worker", str(error), PROBLEM), *_others(box.name)]
        return [
            Item("kind", box.name),
            Item("layers", "none hold, so no code is run but with --unsafe-local", WARNING),
            Item("worker", f"{error}; check ulimit -u and the free memory", PROBLEM),
        ]
    return [
        Item("kind", box.name),
        Item("layers", ", ".join(tried.layers)),
        Item("worker", f"starts, runs a cell and ends in {tried.seconds:.2f} s"),
        *_others(box.name),
    ]


def _others(chosen: str) -> list[Item]:
    """The sandboxes that are not chosen, by whether their programs are there."""
    found = {name: there for name, there in installed().items() if name != chosen}
    there = [name for name in found if found[name]]
    absent = [name for name in found if not found[name]]
    said = f"installed, not tried (--sandbox NAME): {', '.join(there)}" if there else ""
    missing = f"not installed: {', '.join(absent)}" if absent else ""
    return [Item("others", "; ".join(filter(None, (said, missing))))]


def runs(loaded: Loaded) -> list[Item]:
    """The folder for runs."""
    try:
        folder = runs_folder(loaded.settings.runs or None)
    except ConfigError as error:
        return [Item("folder", str(error), PROBLEM)]
    found = look_at_runs(folder)
    items = [Item("folder", shown_path(folder))]
    if found.problem:
        advice = "choose another with --runs or ABYME_RUNS"
        items.append(Item("writable", f"no: {found.problem}; {advice}", PROBLEM))
    else:
        at_least = "" if found.whole else "at least "
        kept = f"{at_least}{plural(found.runs, 'run')}, {at_least}{bytes_text(found.size)}"
        items += [Item("writable", "yes"), Item("kept", kept)]
    if found.free is not None:
        state = WARNING if found.free < _LITTLE else OK
        items.append(Item("free", bytes_text(found.free), state))
    return items
