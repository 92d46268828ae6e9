"""``ask``, ``resume`` and ``fork``: the commands that come to an answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from abyme.cli import options


def _complete_path(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    return click.Path().shell_complete(ctx, param, incomplete)


@click.command()
@click.argument(
    "arguments", nargs=-1, metavar="[QUESTION | PATHS]...", shell_complete=_complete_path
)
@click.option("--question", metavar="TEXT", help="The question, if it could be taken for a path.")
@click.option(
    "--continue",
    "run",
    metavar="RUN",
    help="Ask on in that run, with its data and variables.",
    shell_complete=options.complete_run,
)
@options.models(defaults=True)
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out of folders.")
@click.option("--no-ignore", is_flag=True, help="Read what .gitignore files leave out.")
@click.option("--hidden", is_flag=True, help="Read hidden files in folders.")
@options.sandboxes
@options.accepts
@click.option("--cache", is_flag=True, help="Make equal sub-calls once.")
@click.option("--redact", is_flag=True, help="Keep hashes, no texts; cannot be gone on with.")
@options.durable
@click.option("--dry-run", is_flag=True, help="Show what would be sent first; send nothing.")
@options.display
@options.runs
def ask(
    arguments: tuple[str, ...],
    question: str | None,
    run: str | None,
    no_ignore: bool,
    hidden: bool,
    unsafe_local: bool,
    accept_changed: bool,
    accept_different: bool,
    cache: bool,
    redact: bool,
    durable: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    runs_folder: str | None,
    exclude: tuple[str, ...],
    **flags: str | None,
) -> None:
    """Answer a question from files, folders or standard input.

    An argument that exists is data; the one that does not is the question. The answer goes to
    stdout, all else to stderr. "none" is no limit: of calls, tokens, cost or seconds.

    \b
    abyme ask "Which contracts renew by themselves?" contracts/
    abyme ask src/ "*.md" "Where is the retry policy, and what does it do?"
    tail -c 2000000 app.log | abyme ask "How many lines contain ERROR?"
    abyme ask "What changed?" notes/ --model qwen3 --base-url http://host:8000/v1
    abyme ask "Who signed first?" contracts/ --json | jq .quotes
    abyme ask --continue 20261123-09 "And in 2026?"

    Exit codes: 0 complete, 3 partial, 1 failed, 2 wrong usage or data, 130 interrupted.
    """
    from abyme.cli import ask
    from abyme.cli.ask.arguments import sort_arguments
    from abyme.cli.model_choice import default_model
    from abyme.cli.sandboxes import chosen_sandbox
    from abyme.hardening import harden
    from abyme.settings import load_settings

    harden()
    shown = ask.Shown(as_json=as_json, quiet=quiet, verbose=verbose)
    if run is not None:
        _not_with_continue(
            exclude=exclude,
            no_ignore=no_ignore,
            hidden=hidden,
            cache=cache,
            redact=redact,
            dry_run=dry_run,
        )
        further = {"arguments": arguments, "question": question}
        _go_on(
            "ask", run, flags, shown, runs_folder, further=further, unsafe_local=unsafe_local,
            accept_changed=accept_changed, accept_different=accept_different, durable=durable,
        )  # fmt: skip
    _only_with_continue(accept_changed=accept_changed, accept_different=accept_different)
    asked = sort_arguments(arguments, question, sys.stdin)
    settings = load_settings(os.environ, Path())
    settings = settings.over(
        **flags,
        exclude=list(exclude),
        runs=runs_folder,
        cache=cache or None,
        redact=redact or None,
        durable=durable or None,
    )
    choice = default_model(settings, os.environ)
    reading: dict[str, Any] = {
        "exclude": settings.settings.exclude or (),
        "ignore_files": not no_ignore,
        "hidden": hidden,
    }
    sandbox = chosen_sandbox(settings, unsafe_local=unsafe_local)
    order = ask.Order(settings, choice, asked, shown, sandbox, unsafe_local, reading)
    sys.exit(ask.dry_run(order) if dry_run else ask.run(order))


@click.command()
@click.argument("run", required=False, shell_complete=options.complete_run)
@options.models(defaults=False)
@options.sandboxes
@options.accepts
@options.durable
@options.display
@options.runs
def resume(
    run: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    runs_folder: str | None,
    unsafe_local: bool,
    accept_changed: bool,
    accept_different: bool,
    durable: bool,
    **flags: str | None,
) -> None:
    """Go on with a run that was killed, interrupted, or ended by a limit.

    Nothing that its journal has is asked again; calls that were in flight are, and are named.
    Models, address, limits and sandbox are the run's own, keys are yours; options go before them.
    RUN is an id, the beginning of one, or a folder; else the newest run without a whole answer.

    \b
    abyme resume                                the newest that can go on
    abyme resume 20261123-09 --max-cost 10      with more to spend, in all

    Exit codes: as abyme ask.
    """
    from abyme.cli import ask

    shown = ask.Shown(as_json=as_json, quiet=quiet, verbose=verbose)
    _go_on(
        "resume", run, flags, shown, runs_folder, unsafe_local=unsafe_local,
        accept_changed=accept_changed, accept_different=accept_different, durable=durable,
    )  # fmt: skip


@click.command()
@click.argument("run", required=False, shell_complete=options.complete_run)
@click.option(
    "--turn", type=click.IntRange(min=0), required=True, metavar="N",
    help="Shares all up to the end of turn N; 0: the data.",
)  # fmt: skip
@click.option("--question", metavar="TEXT", help="A further question, asked from there.")
@options.models(defaults=False)
@options.sandboxes
@options.accepts
@options.durable
@options.display
@options.runs
def fork(
    run: str | None,
    turn: int,
    question: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    runs_folder: str | None,
    unsafe_local: bool,
    accept_changed: bool,
    accept_different: bool,
    durable: bool,
    **flags: str | None,
) -> None:
    """Go another way from a turn of a run, as a run of its own.

    What they share costs nothing again, and RUN is left as it is. Of whom is asked and with which
    limits is as in RUN; options go before that. `abyme diff` compares the two.

    \b
    abyme fork 20261123-09 --turn 2 --model openai:gpt-5
    abyme fork 20261123-09 --turn 4 --question "Only those of 2026?"

    Exit codes: as abyme ask.
    """
    from abyme.cli import ask

    shown = ask.Shown(as_json=as_json, quiet=quiet, verbose=verbose)
    _go_on(
        "fork", run, flags, shown, runs_folder, turn=turn, question=question,
        unsafe_local=unsafe_local, accept_changed=accept_changed,
        accept_different=accept_different, durable=durable,
    )  # fmt: skip


def _go_on(
    how: str,
    run: str | None,
    flags: dict[str, str | None],
    shown: Any,
    runs: str | None,
    *,
    question: str | None = None,
    further: dict[str, Any] | None = None,
    **wishes: Any,
) -> NoReturn:
    """Go on with a run and leave; ``further``: arguments that hold the question."""
    from abyme.cli import ask
    from abyme.cli.ask.arguments import has_input
    from abyme.cli.ask.going_on import Wish, further_question, order_to_go_on
    from abyme.hardening import harden

    harden()
    if further is not None:
        if has_input(sys.stdin):
            raise click.UsageError(
                "--continue asks on about the data that the run has: what is piped in is not for it"
            )
        question = further_question(further["arguments"], further["question"])
    elif question is not None and not question.strip():
        raise click.UsageError("--question is empty")
    wish = Wish(how, run, flags, runs, question or "", **wishes)
    sys.exit(ask.run(order_to_go_on(wish, shown, os.environ)))


def _not_with_continue(**given: object) -> None:
    """A run that goes on has its data and its journal already."""
    if names := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        raise click.UsageError(f"--continue asks on in a run as it is: {names[0]} is not for it")


def _only_with_continue(**given: bool) -> None:
    if names := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        raise click.UsageError(f"{names[0]} is for a run that goes on: --continue RUN")
