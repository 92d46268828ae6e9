"""From a run that is there to an order to go on with it: resume, fork, a further question.

Of whom is asked, with which limits, and where code runs is in the run's journal; what the command
line says goes before it. Keys are in no journal: which one goes to which address is decided in
:mod:`abyme.cli.keys`, as for every other question.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from abyme.beginning import check
from abyme.cli.ask import Earlier, Order, Shown
from abyme.cli.ask.arguments import Asked
from abyme.cli.ask.hint import check_as_it_was
from abyme.cli.model_choice import Choice, default_model
from abyme.cli.sandboxes import chosen_sandbox
from abyme.cli.text import child_flag, limit_met, raised
from abyme.config import Limits, children_above, is_above, runs_folder
from abyme.context.documents import shown as on_one_line
from abyme.errors import ConfigError, JournalError
from abyme.events import Terms
from abyme.journal.files import is_locked
from abyme.journal.format import JOURNAL
from abyme.journal.reader import find_run
from abyme.journal.reopening import is_without_texts
from abyme.journal.seal import is_sealed
from abyme.journal.summary import newest_run, run_folders, summarise
from abyme.journal.tape import Tape
from abyme.journal.writer import still_going
from abyme.models.quoting import public_url, shown_url
from abyme.recorded import (
    address_named,
    child_price_of,
    children_named,
    is_asked,
    limits_named,
    lowered,
    model_named,
    public_name,
    shared,
)
from abyme.settings import Loaded, configured_runs, load_settings
from abyme.settings_values import LIMITS, SANDBOXES
from abyme.spec import GoesOn

_JOURNAL = "the run's journal"
_NAMED = 5
"""Files that are named."""
_RANK = 2
"""Weaker than flags and the environment; see :attr:`abyme.settings.Loaded.ranks`."""
_MODELS = ("model", "sub_model", "child_model", "price", "sub_price", "child_price")
_ITS_OWN = (*_MODELS, "exclude", "cache", "redact", *LIMITS)
"""Settings that a run which goes on has of its own: what is configured now says nothing of them."""


class Wish(NamedTuple):
    """What the command line says of how to go on. ``run``: None for the newest."""

    how: Any
    run: str | None
    flags: Mapping[str, Any]
    """By the names of settings and limits; None where one was not given."""
    runs: str | None = None
    question: str = ""
    turn: int = 0
    accept_changed: bool = False
    accept_different: bool = False
    unsafe_local: bool = False
    durable: bool = False


def order_to_go_on(wish: Wish, shown: Shown, environ: Mapping[str, str]) -> Order:
    """The order. Nothing is asked or written yet.

    Raises :class:`~abyme.errors.AbymeError` for whatever can be seen to forbid it.
    """
    where = runs_folder(wish.runs or configured_runs(environ) or None)
    goes_on = GoesOn(
        folder=_folder(where, wish),
        how=wish.how,
        turn=wish.turn,
        accept_changed=wish.accept_changed,
        accept_different=wish.accept_different,
    )
    records = shared(goes_on, further=bool(wish.question))
    if wish.how != "fork" and is_locked(goes_on.folder / JOURNAL):
        raise still_going(goes_on.folder)
    tape = Tape(records)
    check(tape, goes_on, ())
    assert tape.terms is not None
    loaded = load_settings(environ, Path())
    own_folder = runs_folder(configured_runs(environ) or None)
    sealed = is_sealed(goes_on.folder, records)
    is_own = sealed or _is_in(goes_on.folder, own_folder)
    settings, notes = _settings(loaded, tape.terms, wish, environ, is_own=is_own, sealed=sealed)
    if not is_own:
        notes += _files_note(tape)
    if wish.how == "resume":
        _check_limits(tape, settings.settings.limits)
        if not is_own:
            recorded = limits_named(tape.terms.limits)
            given = {**wish.flags, "runs": wish.runs}
            run = wish.run or goes_on.folder.name
            check_as_it_was(records, tape.terms, recorded, settings, run, given)
    choice = default_model(settings, environ)
    notes += _key_note(settings, choice, environ)
    return Order(
        settings,
        choice,
        Asked(wish.question, None),
        shown,
        chosen_sandbox(settings, unsafe_local=wish.unsafe_local),
        wish.unsafe_local,
        {},
        earlier=Earlier(goes_on, [r.event for r in records], tape.spent.seconds, tuple(notes)),
    )


def further_question(words: Sequence[str], question: str | None) -> str:
    """The question of ``ask --continue``. Raises :class:`ConfigError` for what is none."""
    only = "with --continue the data is that of the run: give the question alone"
    if question is not None:
        words = [*words, question]
    if len(words) > 1:
        raise ConfigError(f"{len(words)} arguments, and {only}, in quotes")
    if not words or not words[0].strip():
        raise ConfigError('no question: abyme ask --continue RUN "And in 2026?"')
    if question is None and os.path.lexists(words[0]):
        raise ConfigError(f"{public_name(words[0])} is a path: {only} (--question takes any text)")
    return words[0]


def newest_to_resume(runs: Path) -> Path:
    """The newest run that was left without a whole answer. Raises :class:`JournalError`."""
    for folder in run_folders(runs):
        path = folder / JOURNAL
        over = summarise(folder).status in ("complete", "unreadable")
        if not over and not is_locked(path) and not is_without_texts(path):
            return folder
    newest_run(runs)  # raises where there is none at all
    raise JournalError(f"no run in {runs} was left without its answer: `abyme runs` lists them")


def _folder(where: Path, wish: Wish) -> Path:
    if wish.run is not None:
        return find_run(where, wish.run)
    return newest_to_resume(where) if wish.how == "resume" else newest_run(where)


def _is_in(folder: Path, runs: Path) -> bool:
    try:
        return folder.resolve().parent == runs.resolve()
    except OSError:
        return False


def _check_limits(tape: Tape, limits: Limits) -> None:
    """Raise where the limit that ended the run is as it was: it would end it again at once."""
    name = limit_met(tape.ended.reason) if tape.ended is not None else ""
    if not name or tape.terms is None:
        return
    before, now = getattr(limits_named(tape.terms.limits), name), getattr(limits, name)
    if now is not None and not is_above(now, before):
        raise ConfigError(
            f"{name} ended this run and is no higher now: {raised(name, now)} would raise it"
        )


def _settings(
    loaded: Loaded,
    terms: Terms,
    wish: Wish,
    environ: Mapping[str, str],
    *,
    is_own: bool,
    sealed: bool,
) -> tuple[Loaded, list[str]]:
    """The settings by the journal and the command line, and what is to be said of them.

    ``is_own``: its limits and prices count; ``sealed``: its address too.
    """
    given = {name for name, value in wish.flags.items() if value}
    values: dict[str, Any] = {
        "exclude": None,
        "redact": False,
        "cache": terms.cache,
    }  # of redacted runs none goes on
    values |= _models(terms, given, is_own=is_own)
    if "base_url" not in given and is_asked(terms):
        own = (loaded.settings.base_url, loaded.own_base_url, environ.get("OPENAI_BASE_URL", ""))
        values["base_url"] = address_named(
            terms.base_url, map(str.strip, own), "--base-url", sealed=sealed
        )
    if "sandbox" not in given and not loaded.settings.sandbox:
        values["sandbox"] = _sandbox(terms.sandbox, wish.unsafe_local)
    recorded = limits_named(terms.limits)
    limits = recorded if is_own else lowered(recorded, loaded.settings.limits)
    origins = {name: at for name, at in loaded.origins.items() if name not in _ITS_OWN}
    ranks = {name: rank for name, rank in loaded.ranks.items() if name not in _ITS_OWN}
    if values.get("base_url") == loaded.settings.base_url:
        values.pop("base_url", None)  # it is configured: so is its key
    for name in values.keys() & {*_MODELS, "base_url"}:
        if values[name]:
            origins[name], ranks[name] = _JOURNAL, _RANK
    values = {
        "model": "",
        "sub_model": "",
        "child_model": None,
        "price": None,
        "sub_price": None,
        "child_price": None,
        **values,
    }
    settings = msgspec.structs.replace(loaded.settings, **values, limits=limits)
    merged = msgspec.structs.replace(
        loaded, settings=settings, origins=origins, ranks=ranks, refused={}
    ).over(**wish.flags, runs=wish.runs, durable=wish.durable or None)
    return merged, _lowered_note(recorded, limits, given)


def _models(terms: Terms, given: set[str], *, is_own: bool) -> dict[str, Any]:
    """The models and their prices, as far as the command line names no others.

    A stranger's price could be zero, and no limit of cost would bind.
    """
    values: dict[str, Any] = {}
    prices = terms.prices if is_own else {}
    if "model" not in given:
        values["model"] = model_named(terms.model, "give --model")
        values["price"] = prices.get(terms.model)
    if "sub_model" not in given and terms.sub_model != terms.model:
        values["sub_model"] = model_named(terms.sub_model, "give --sub-model")
        values["sub_price"] = prices.get(terms.sub_model)
    if "child_model" not in given and terms.child_models:
        values["child_model"] = children_named(terms, "give --child-model")
        values["child_price"] = child_price_of(terms) if is_own else None
    return values


def _sandbox(name: str, unsafe_local: bool) -> str:
    if name == "process, unsafe-local" and not unsafe_local:
        raise ConfigError(
            "this run's code was not confined: --unsafe-local runs it so again, --sandbox process "
            "holds it"
        )
    name = name.partition(",")[0] or "process"
    if name not in SANDBOXES:
        raise ConfigError(f"this run's code ran in {public_name(name)}: give --sandbox")
    return name


def _files_note(tape: Tape) -> list[str]:
    """What is read because a journal names it that may be a stranger's."""
    paths = [event.path for _, event in sorted(tape.documents.items()) if not event.owned]
    if not paths:
        return []
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return [
        f"this run is not in your folder of runs; its journal has it read "
        f"{', '.join(on_one_line(path) for path in paths[:_NAMED])}{more}"
    ]


def _lowered_note(recorded: Limits, limits: Limits, given: set[str]) -> list[str]:
    lower = [
        name
        for name in LIMITS
        if name not in given and getattr(recorded, name) != getattr(limits, name)
    ]
    if not lower:
        return []
    flags = " ".join(
        raised(name, getattr(limits, name)).replace("N", "…")
        for name in lower
        if name != "children"
    )
    if "children" in lower:
        above = children_above(recorded.children, limits)
        flags = " ".join([flags, *(f"{child_flag(name)} …" for name in above)]).strip()
    return [
        f"the journal's {' and '.join(lower)} {'is' if len(lower) == 1 else 'are'} above your own, "
        f"which {'binds' if len(lower) == 1 else 'bind'}, since this run is not in your folder of "
        f"runs: {flags} allows more"
    ]


def _key_note(settings: Loaded, choice: Choice, environ: Mapping[str, str]) -> list[str]:
    """That a key stays here which whoever named the address himself would have had sent."""
    url = choice.base_url or ""
    exported = environ.get("OPENAI_API_KEY", "").strip()
    if choice.key_from or not exported or not url or settings.origin("base_url") != _JOURNAL:
        return []
    return [
        f"no key goes to {shown_url(url)}, which the run's journal names: --base-url "
        f"{public_url(url)} sends OPENAI_API_KEY"
    ]
