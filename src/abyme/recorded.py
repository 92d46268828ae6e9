"""What a run's journal says of whom it asked and with which limits, as far as it may be followed.

A run's folder may be a stranger's: its journal then names an address of his, and documents of
whoever goes on with it. So no address gets data or a key because a journal names it. One that the
user has configured does, in his own spelling, and one on this machine's loopback interface, which
gets no key; so does one of a journal that is known for his own by its seal, without a key as well.
Any other has to be named again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit

import msgspec

from abyme.beginning import lines_until
from abyme.config import (
    NUMBERS,
    ChildLimits,
    Limits,
    children_above,
    children_problem,
    is_above,
    limit_problem,
)
from abyme.errors import ConfigError, JournalError
from abyme.events import Terms
from abyme.journal.reader import Record, read
from abyme.journal.seal import is_sealed
from abyme.journal.tape import Tape
from abyme.models.base import Model
from abyme.models.quoting import public_url, shown_url
from abyme.models.registry import OPENAI_URL
from abyme.sandbox.base import Sandbox
from abyme.sandbox.process import ProcessSandbox
from abyme.spec import GoesOn

HTTP = "openai:"
"""How the names of models begin that are asked over HTTP."""

_LOOPBACK = re.compile(
    r"https?://(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?"
)


def terms_in(folder: Path) -> tuple[Terms, bool]:
    """The newest terms of the run in ``folder``, and whether they are sealed.

    Raises :class:`JournalError`.
    """
    records = list(read(folder))
    terms = Tape(records).terms
    if terms is None:
        raise JournalError(f"{folder} has nothing to go on from")
    return terms, is_sealed(folder, records)


class Arguments(TypedDict):
    """Those of :class:`abyme.rlm.RLM` that a journal has a say in."""

    model: str | Model
    sub_model: str | Model | None
    child_models: Sequence[str | Model]
    base_url: str | None
    api_key: str | None
    limits: Limits
    price: tuple[float, float] | None
    sub_price: tuple[float, float] | None
    child_price: tuple[float, float] | None
    sandbox: Sandbox


def arguments_of(
    terms: Terms,
    *,
    sealed: bool,
    model: str | Model | None,
    sub_model: str | Model | None,
    child_models: Sequence[str | Model] | None,
    base_url: str | None,
    api_key: str | None,
    limits: Limits | None,
    price: tuple[float, float] | None,
    sub_price: tuple[float, float] | None,
    child_price: tuple[float, float] | None,
    sandbox: Sandbox | None,
) -> Arguments:
    """What makes an RLM as the one whose run has these ``terms``; what is given goes before them.

    The rules, and what is raised, are those of :meth:`abyme.rlm.RLM.of_run`.
    """
    same_sub = terms.sub_model == terms.model
    if base_url is None and is_asked(terms):
        paired = os.environ.get("OPENAI_BASE_URL", "").strip()
        base_url = address_named(terms.base_url, (paired,), "base_url=", sealed=sealed)
        own = same_address(base_url, OPENAI_URL) or base_url == paired
        api_key = "" if api_key is None and not own else api_key
    if price is None and model is None:
        price = terms.prices.get(terms.model)
    if sub_price is None and sub_model is None and not same_sub:
        sub_price = terms.prices.get(terms.sub_model)
    if sub_model is None and not same_sub:
        sub_model = model_named(terms.sub_model, "give sub_model=")
    if child_models is None:
        child_models = children_named(terms, "give child_models=")
        child_price = child_price_of(terms) if child_price is None else child_price
    return Arguments(
        model=model_named(terms.model, "give model=") if model is None else model,
        sub_model=sub_model,
        child_models=child_models,
        base_url=base_url,
        api_key=api_key,
        limits=limits or limits_named(terms.limits),
        price=price,
        sub_price=sub_price,
        child_price=child_price,
        sandbox=sandbox or _sandbox_named(terms.sandbox),
    )


def shared(goes_on: GoesOn, *, further: bool) -> list[Record]:
    """All that a run which goes on has in common with the one it goes on from.

    ``further``: it goes on with a further question. Raises :class:`JournalError`, and as
    :func:`~abyme.beginning.lines_until`.
    """
    records = list(read(goes_on.folder))
    if goes_on.how == "fork":
        return records[: lines_until(records, goes_on.turn, further=further)]
    return records


def is_asked(terms: Terms) -> bool:
    """Whether a model of the run was asked over HTTP, and so had an address."""
    names = (terms.model, terms.sub_model, *terms.child_models)
    return any(name.startswith(HTTP) for name in names)


def is_nameable(model: str) -> bool:
    """Whether a journal can name this model so that it may be asked again without its user."""
    return not model.startswith("scripted:")


def model_named(name: str, how: str) -> str:
    """The model that a journal names, as it is given to an RLM.

    ``how`` tells the user how another is chosen. A file of scripted replies is none that a journal
    may have read. Raises :class:`ConfigError`.
    """
    if name == "reader" or name.startswith(HTTP):
        return name
    raise ConfigError(f"this run asked {public_name(name)}, which only you can name: {how}")


def children_named(terms: Terms, how: str) -> tuple[str, ...]:
    """The models of children that a journal names, as :func:`model_named` has each."""
    return tuple(model_named(name, how) for name in terms.child_models)


def child_price_of(terms: Terms) -> tuple[float, float] | None:
    """The price that the caller named for models of children which are no others."""
    others = {terms.model, terms.sub_model}
    known = (terms.prices.get(name) for name in terms.child_models if name not in others)
    return next(filter(None, known), None)


def public_name(name: str) -> str:
    """A model's name from a journal, short and on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:80])


def _sandbox_named(name: str) -> Sandbox:
    """The sandbox that a journal names. Raises :class:`ConfigError` for what is none of them."""
    if name in ("", "process"):
        return ProcessSandbox()
    from abyme.sandbox.command import bubblewrap, docker, podman

    if name == "bubblewrap":
        return bubblewrap()
    if name in ("docker", "podman"):
        return (docker if name == "docker" else podman)()
    raise ConfigError(f"this run's code ran in {public_name(name)!r}: give sandbox= again")


def address_named(url: str, own: Iterable[str], how: str, *, sealed: bool = False) -> str:
    """The address that a journal names, as it may be asked: "" stands for api.openai.com.

    ``own``: those that the user has configured. ``how`` tells him how to name it. ``sealed``: it
    was asked by this user before (:func:`~abyme.journal.seal.is_sealed`). Raises
    :class:`ConfigError` for any other that is not on this machine.
    """
    url = url or OPENAI_URL
    for known in (*own, OPENAI_URL):
        if known and same_address(url, known):
            return known
    if sealed or is_on_this_machine(url):
        return url
    raise ConfigError(
        f"this run asked {shown_url(url)}, which only its journal names, so nothing is sent "
        f"there: {how} {public_url(url)} asks it again"
    )


def is_on_this_machine(url: str) -> bool:
    """Whether this address is one of the loopback interface."""
    return _LOOPBACK.fullmatch(url) is not None


def limits_named(limits: Mapping[str, Any]) -> Limits:
    """The limits that a journal names; what it does not, or not well, is as it is by default."""
    known = {
        name: value
        for name, value in limits.items()
        if name in NUMBERS and not limit_problem(name, value)
    }
    return Limits(**known, children=_children_named(limits.get("children", ())))


def _children_named(children: Any) -> tuple[ChildLimits, ...]:
    try:
        named = msgspec.convert(children, tuple[ChildLimits, ...])
    except (msgspec.ValidationError, ConfigError):
        return ()
    return () if children_problem(named) else named


def lowered(limits: Limits, own: Limits) -> Limits:
    """``limits`` where they are not above ``own``, and else these."""
    lower = {
        name: value
        for name in NUMBERS
        if not is_above(value := getattr(limits, name), getattr(own, name))
    }
    if not children_above(limits.children, own):
        lower["children"] = limits.children
    return msgspec.structs.replace(own, **lower)


def same_address(one: str, other: str) -> bool:
    """Whether two base URLs are the same place."""
    first = _address(one)
    return first is not None and first == _address(other)


def _address(url: str) -> tuple[str, str, int | None, str] | None:
    """What makes two addresses the same; None where it is none. All of OpenAI's are one."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    host = (parts.hostname or "").lower()
    if not host:
        return None
    openai = (parts.scheme, host, port) == ("https", "api.openai.com", 443)
    return parts.scheme, host, port, "" if openai else parts.path.rstrip("/")
