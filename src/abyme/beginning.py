"""How a run begins: anew, or from the journal of one that is there.

A run that is resumed or asked on goes on in its own journal. A fork gets a folder of its own, whose
journal begins with the very lines of its parent.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from abyme.config import Limits
from abyme.errors import ConfigError, DataError, JournalError
from abyme.events import (
    ROOT,
    Event,
    MessageAdded,
    QuestionAsked,
    RunForked,
    RunResumed,
    RunStarted,
    Terms,
    TurnEnded,
)
from abyme.journal.format import VERSION
from abyme.journal.reader import Record, read
from abyme.journal.tape import Tape
from abyme.journal.writer import Journal, new_run_id
from abyme.models.quoting import public_url
from abyme.spec import GoesOn, RunSpec
from abyme.version import __version__


class Beginning(msgspec.Struct):
    """An open journal, and what is in it."""

    journal: Journal
    tape: Tape


def begin(spec: RunSpec) -> Beginning:
    """Open the journal of a run; for a thread. Nothing is written yet where there was one.

    Raises :class:`JournalError` where it cannot be made, read or gone on with,
    :class:`DataError` where its data was never loaded, :class:`ConfigError` where it lacks tools
    or has nothing left to do.
    """
    goes_on = spec.goes_on
    if goes_on is None:
        journal = Journal(spec.runs, new_run_id(), redact=spec.redact, durable=spec.durable)
        return Beginning(journal, Tape())
    _check_folder(spec, goes_on)
    if goes_on.how == "fork":
        return _fork(spec, goes_on)
    journal = Journal.reopen(goes_on.folder, durable=spec.durable)
    try:
        tape = Tape(read(goes_on.folder))
        check(tape, goes_on, spec.tools)
    except BaseException:
        journal.abandon()
        raise
    return Beginning(journal, tape)


def first_events(spec: RunSpec, begun: Beginning, changed: Sequence[int]) -> list[Event]:
    """What a run tells before anything else."""
    goes_on, tape, terms = spec.goes_on, begun.tape, terms_of(spec)
    if goes_on is None:
        return [_started(spec, begun.journal.run)]
    events: list[Event] = []
    if goes_on.how == "fork":
        forked = RunForked(run=begun.journal.run, parent=tape.run, turn=goes_on.turn, terms=terms)
        events.append(forked)
    elif goes_on.how == "resume" or tape.ended is None:
        events.append(_resumed(begun, changed, terms))
    if spec.question:
        asked = QuestionAsked(
            question=spec.question,
            number=tape.root.conversation.number + 1,
            turns=tape.root.turns_begun,
            terms=terms,
        )
        events.append(asked)
    return events


def terms_of(spec: RunSpec) -> Terms:
    """On which terms a run goes on."""
    return Terms(
        version=__version__,
        model=spec.model.name,
        sub_model=spec.sub_model.name,
        base_url=public_url(spec.base_url) if spec.base_url else "",
        limits=_by_name(spec.limits),
        tools=tuple(spec.tools),
        python=platform.python_version(),
        priced=spec.priced,
        prices=dict(spec.prices),
        sandbox=spec.sandbox.name,
        cache=spec.cache,
        child_models=tuple(model.name for model in spec.child_models),
        parameters={name: tool.description.parameters for name, tool in spec.tools.items()},
    )


def _by_name(limits: Limits) -> dict[str, Any]:
    """The limits as they come back from a journal: JSON has lists, no tuples."""
    named: dict[str, Any] = msgspec.to_builtins(limits)
    return {**named, "children": list(named["children"])}


def _started(spec: RunSpec, run: str) -> RunStarted:
    terms = msgspec.structs.asdict(terms_of(spec))
    return RunStarted(
        run=run, question=spec.question, format=VERSION, redacted=spec.redact, **terms
    )


def _resumed(begun: Beginning, changed: Sequence[int], terms: Terms) -> RunResumed:
    in_flight = begun.tape.in_flight.values()
    costs = [call.reserved_cost for call in in_flight]
    known = [cost for cost in costs if cost is not None]
    return RunResumed(
        terms=terms,
        in_flight=tuple(call.key for call in in_flight),
        charged_tokens=sum(call.reserved_tokens for call in in_flight),
        charged_cost=sum(known) if len(known) == len(costs) else None,
        torn_bytes=begun.journal.torn_bytes,
        changed=tuple(changed),
    )


def _fork(spec: RunSpec, goes_on: GoesOn) -> Beginning:
    records = list(read(goes_on.folder))
    lines = lines_until(records, goes_on.turn, further=bool(spec.question))
    tape = Tape(records[:lines])
    check(tape, goes_on, spec.tools)
    run = new_run_id()
    journal = Journal.fork(goes_on.folder, spec.runs, run, lines, durable=spec.durable)
    return Beginning(journal, tape)


def lines_until(records: Sequence[Record], turn: int, *, further: bool) -> int:
    """How many lines a journal has up to the end of turn ``turn``: what its root was told then.

    0 is before the first turn. After the last turn nothing more was told: from there a run can
    only go on with a ``further`` question. Raises :class:`ConfigError`.
    """
    last = ended = 0
    for number, record in enumerate(records, 1):
        match record.event:
            case TurnEnded(node=node, turn=over) if node == ROOT:
                last = over
                ended = number if last == turn else ended
            case QuestionAsked() if ended:
                break
            case MessageAdded(node=node, role="user") if node == ROOT and last == turn:
                return number
            case _:
                pass
    if ended and further:
        return ended
    if 0 < turn == last:
        raise ConfigError(
            f"turn {turn} is the last one of this run: fork it before that, or give a --question"
        )
    have = f"it has the turns 1 to {last}" if last else "it has none"
    raise ConfigError(f"this run has no turn {turn} to go on from: {have}; 0 is before the first")


def _check_folder(spec: RunSpec, goes_on: GoesOn) -> None:
    """A journal says which files are read, and where what code makes of them is sent.

    So it must be the user's own: one that lies in their folder of runs and belongs to them.
    """
    folder = goes_on.folder.resolve()
    if folder.parent != spec.runs.resolve() or goes_on.folder.is_symlink():
        raise ConfigError(
            f"{goes_on.folder} is not in the folder of runs, {spec.runs}: its journal decides "
            "which files of this machine are read; if you trust whoever made it, move it there, or "
            "name the folder that it is in with --runs"
        )
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        raise ConfigError(f"{goes_on.folder} is another user's: it cannot be gone on with")


def check(tape: Tape, goes_on: GoesOn, tools: Collection[str]) -> None:
    """Whether a run can be gone on with, by someone who has these tools.

    Raises as :func:`begin`.
    """
    if tape.started is None or tape.terms is None:
        raise JournalError(f"{goes_on.folder} has nothing to go on from")
    if tape.started.redacted:
        raise ConfigError(
            "this run was kept without its texts (--redact): nothing of it can be done again"
        )
    if tape.data is None:
        raise DataError(
            "this run was left while its data was being loaded, and nothing had been asked: "
            "ask again instead"
        )
    if missing := sorted(set(tape.terms.tools) - set(tools)):
        raise ConfigError(
            f"this run used the tools {', '.join(missing)}: go on with it from Python, with an "
            "RLM that has them"
        )
    if goes_on.how == "resume" and tape.ended is not None and tape.ended.status == "complete":
        raise ConfigError(
            "this run is complete: `abyme ask --continue` asks on, `abyme fork` goes another way"
        )
