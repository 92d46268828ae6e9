"""``show``, ``runs`` and ``runs gc``: the runs that are there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from abyme.cli import options
from abyme.cli.console import put, say, width


def _complete_gc(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return ["gc"] if "gc".startswith(incomplete) and not ctx.params.get("words") else []


def _complete_status(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from abyme.journal.summary import STATUSES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + status for status in STATUSES if status.startswith(last)]


@click.command()
@click.argument("run", required=False, shell_complete=options.complete_run)
@click.option("--turn", type=int, metavar="N", help="This turn alone, in full.")
@click.option("--node", metavar="ID", help="This child, like 0.1, with what is below it.")
@click.option("--json", "as_json", is_flag=True, help="The events, one JSON a line.")
@options.runs
def show(
    run: str | None, turn: int | None, node: str | None, as_json: bool, runs_folder: str | None
) -> None:
    """Show a run: turns, code, output, calls, cost, answer.

    RUN is an id, the beginning of one, or a folder; the newest run where it is not given. Where
    there are children, the tree of them comes first; the turns are the root's.

    \b
    abyme show                     the newest run
    abyme show 20261123-09         a run by the beginning of its id
    abyme show --turn 2            one turn with every prompt and reply, whole
    abyme show --node 0.3          a child's turns, calls and answer
    abyme show --json | jq .event  the journal's events
    """
    from abyme.cli import show
    from abyme.journal.reader import find_run
    from abyme.journal.summary import newest_run

    where = options.runs_at(runs_folder)
    folder = newest_run(where) if run is None else find_run(where, run)
    if as_json:
        show.show_json(folder, put, turn=turn, node=node)
    else:
        show.show(folder, put, turn=turn, node=node or "0", width=width())


@click.command()
@click.argument("words", nargs=-1, metavar="[WORDS]...", shell_complete=_complete_gc)
@click.option(
    "--status",
    metavar="LIST",
    multiple=True,
    shell_complete=_complete_status,
    help="complete, partial, failed, going, unfinished, unreadable.",
)
@click.option("--model", metavar="NAME", default="", help="A part of the (sub-)model's name.")
@click.option("--since", metavar="WHEN", help="2026-11-01, 3d, 12h, yesterday.")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, metavar="N", help="Most to list; 20."
)
@click.option("--json", "as_json", is_flag=True, help="The runs, one JSON a line.")
@options.runs
def runs(
    words: tuple[str, ...],
    status: tuple[str, ...],
    model: str,
    since: str | None,
    limit: int,
    as_json: bool,
    runs_folder: str | None,
) -> None:
    """List the runs, newest first, with what each takes on the disk.

    WORDS stand in the question, the reason why it is not complete, a model's name or the names of
    the first ten documents; all of them, in any case.

    \b
    abyme runs contracts renew                     those with both words
    abyme runs --status failed,partial --since 3d
    abyme runs --model mini --json | jq .run
    abyme runs gc                                  remove what is not wanted
    """
    from abyme.cli.runs import show_runs, show_runs_json, statuses
    from abyme.journal.wanted import Wanted

    wanted = Wanted(
        statuses=_parsed("--status", statuses, status) if status else frozenset(),
        model=model,
        since=_time("--since", since) or 0.0,
        words=words,
    )
    folder = options.runs_at(runs_folder)
    if as_json:
        show_runs_json(folder, put, wanted=wanted, limit=limit)
    else:
        show_runs(folder, put, say, wanted=wanted, limit=limit, width=width())


@click.command("runs gc")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Not the newest N.")
@click.option("--older-than", metavar="WHEN", help="Last written to before 30d, 2026-11-01.")
@click.option(
    "--status",
    metavar="LIST",
    multiple=True,
    shell_complete=_complete_status,
    help="Only complete, partial, failed, unfinished, unreadable.",
)
@click.option("--apply", is_flag=True, help="Remove them; else they are only shown.")
@options.runs
def runs_gc(
    keep: int | None,
    older_than: str | None,
    status: tuple[str, ...],
    apply: bool,
    runs_folder: str | None,
) -> None:
    """Remove runs that are no longer wanted.

    Shows what would be removed and how much disk that frees; --apply removes it. A run goes that
    meets all that is given; one that is going on never does. Without any, says what there is.

    \b
    abyme runs gc --older-than 30d
    abyme runs gc --status failed,unfinished --older-than 1d --apply
    abyme runs gc --keep 100 --apply

    Exit codes: 0; 1 something could not be removed; 2 wrong usage.
    """
    from abyme.cli.runs import statuses
    from abyme.cli.runs_gc import REMOVABLE, show_gc
    from abyme.journal.gc import Criteria

    criteria = Criteria(
        keep=keep,
        before=_time("--older-than", older_than),
        statuses=_parsed("--status", statuses, status, REMOVABLE) if status else frozenset(),
    )
    if apply and not criteria.given:
        raise click.UsageError("--apply needs one of --keep, --older-than and --status")
    folder = options.runs_at(runs_folder)
    sys.exit(show_gc(folder, criteria, put, say, apply=apply, width=width()))


def _parsed(option: str, parse: Callable[..., Any], *given: Any) -> Any:
    """What ``parse`` makes of an option; what it does not take is wrong usage."""
    try:
        return parse(*given)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _time(option: str, given: str | None) -> float | None:
    """A time that an option says, in seconds since 1970."""
    import time

    from abyme.cli.when import moment

    now = time.time()
    parsed: float | None = None if given is None else _parsed(option, moment, given, now)
    return parsed
