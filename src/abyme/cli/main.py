"""The command ``abyme``: arguments in, exit codes out. Each command's work is in its own file.

Exit codes: 0 complete; 1 failed; 2 wrong usage, or data that cannot be loaded; 3 partial; 130
interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from abyme.cli.console import OutputError, put, say, width

app = typer.Typer(
    name="abyme",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

FAILED = 1
USAGE = 2


def _complete_run(incomplete: str) -> list[str]:
    from abyme.cli.runs import complete_run

    return complete_run(incomplete)


RunsFolder = Annotated[
    Path | None,
    typer.Option(
        "--runs", metavar="FOLDER", help="Folder of runs; else ABYME_RUNS.", show_default=False
    ),
]


def run() -> None:
    """Do what the arguments say: every error is one line and an exit code, never a traceback."""
    from abyme.errors import AbymeError

    try:
        sys.exit(app(standalone_mode=False))
    except AbymeError as error:  # what befalls a run is in its answer: these come before it
        say(f"abyme: {error}")
        sys.exit(USAGE)
    except (BrokenPipeError, OutputError) as error:
        # The reader of our output left (`| head`), which is its right; or the disk is full.
        if isinstance(error, OutputError):
            say(f"abyme: {error}; `abyme show` has the answer")
        os._exit(FAILED)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own, whichever click it was built with
            say(f"abyme: {_usage(str(error.format_message()))}")
            sys.exit(USAGE)
        if os.environ.get("ABYME_TRACEBACK"):
            raise
        say(
            f"abyme: a fault of its own: {type(error).__name__}: {error} "
            "(ABYME_TRACEBACK=1 shows where)"
        )
        sys.exit(FAILED)


def _usage(message: str) -> str:
    """What was wrong with the command line, and where to look."""
    message = message.strip().rstrip(".")
    if message.startswith("No such command"):
        return f"{message}: to ask something, abyme ask QUESTION PATHS…; else see `abyme --help`"
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    command = f"{sys.argv[1]} " if known.intersection(sys.argv[1:2]) else ""
    return f"{message}; see `abyme {command}--help`"


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Ask anything of data far larger than a model's window.

    \b
    abyme ask "Which contracts renew by themselves?" contracts/
    journalctl | abyme ask "What broke at 14:03, and why?"
    abyme show          what the last run did, turn by turn
    abyme doctor        what is set up here, and what to do next
    """
    if version:
        from abyme.version import __version__

        typer.echo(f"abyme {__version__}")
        raise typer.Exit


@app.command()
def ask(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION|PATHS",
            help="The question, and files, folders, patterns or - (standard input), in any order.",
            show_default=False,
        ),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option(
            "--question", metavar="TEXT", help="The question, where it could be taken for a path."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Drives the REPL: openai:NAME, NAME with --base-url, reader."
        ),
    ] = "",
    sub_model: Annotated[
        str, typer.Option(metavar="NAME", help="Answers sub-calls; else the same model.")
    ] = "",
    base_url: Annotated[
        str, typer.Option(metavar="URL", help="An OpenAI-compatible endpoint, up to and with /v1.")
    ] = "",
    price: Annotated[
        str,
        typer.Option(metavar="IN,OUT", help="$ per million tokens, where no price is known."),
    ] = "",
    sub_price: Annotated[
        str, typer.Option(metavar="IN,OUT", help="The same of the sub-model, where it differs.")
    ] = "",
    max_cost: Annotated[str, typer.Option(metavar="$", help="US dollars; 5.")] = "",
    max_seconds: Annotated[str, typer.Option(metavar="N", help="For the whole run; 1800.")] = "",
    max_calls: Annotated[str, typer.Option(metavar="N", help="Model calls; 1000.")] = "",
    max_tokens: Annotated[str, typer.Option(metavar="N", help="In and out; no limit.")] = "",
    max_turns: Annotated[str, typer.Option(metavar="N", help="Turns of the root; 30.")] = "",
    max_width: Annotated[str, typer.Option(metavar="N", help="Model calls at once; 64.")] = "",
    max_depth: Annotated[str, typer.Option(metavar="N", help="Only 1 for now.")] = "",
    cell_seconds: Annotated[
        str, typer.Option(metavar="N", help="That a cell may compute; 120.")
    ] = "",
    call_seconds: Annotated[str, typer.Option(metavar="N", help="For one model call; 600.")] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out of folders; repeatable."),
    ] = None,
    no_ignore: Annotated[
        bool, typer.Option("--no-ignore", help="Read what .gitignore files leave out.")
    ] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Read hidden files in folders.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent first; send nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Code, output and sub-calls on stderr.")
    ] = False,
    runs: RunsFolder = None,
) -> None:
    """Answer a question from files, folders or standard input.

    An argument that exists is data; the one that does not is the question. The answer goes to
    stdout, all else to stderr. Limits that are not wanted are given as "none".

    \b
    abyme ask "Which contracts renew by themselves?" contracts/
    abyme ask src/ "*.md" "Where is the retry policy, and what does it do?"
    tail -c 2000000 app.log | abyme ask "How many lines contain ERROR?"
    abyme ask "What changed?" notes/ --model qwen3 --base-url http://localhost:11434/v1
    abyme ask "Who signed first?" contracts/ --json | jq .quotes

    Exit codes: 0 complete, 3 partial, 1 failed, 2 wrong usage or data, 130 interrupted.
    """
    from abyme.cli import ask as asking
    from abyme.cli.ask.arguments import sort_arguments
    from abyme.cli.model_choice import default_model
    from abyme.settings import load_settings

    asked = sort_arguments(arguments or [], question, sys.stdin)
    settings = load_settings(os.environ, Path()).over(
        model=model,
        sub_model=sub_model,
        base_url=base_url,
        price=price,
        sub_price=sub_price,
        max_cost=max_cost,
        max_seconds=max_seconds,
        max_calls=max_calls,
        max_tokens=max_tokens,
        max_turns=max_turns,
        max_width=max_width,
        max_depth=max_depth,
        cell_seconds=cell_seconds,
        call_seconds=call_seconds,
        exclude=exclude,
        runs=str(runs or ""),
    )
    choice = default_model(settings, os.environ)
    shown = asking.Shown(as_json=as_json, quiet=quiet, verbose=verbose)
    options: dict[str, Any] = {
        "exclude": settings.settings.exclude or (),
        "ignore_files": not no_ignore,
        "hidden": hidden,
    }
    do = asking.dry_run if dry_run else asking.run
    sys.exit(do(settings, choice, asked, shown, options))


@app.command()
def show(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run's id, the beginning of one, or its folder; else the newest.",
            autocompletion=_complete_run,
            show_default=False,
        ),
    ] = None,
    turn: Annotated[int | None, typer.Option(help="This turn alone, in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The events, one JSON a line.")] = False,
    runs: RunsFolder = None,
) -> None:
    """Show a run: turns, code, output, calls, cost, answer.

    \b
    abyme show                     the newest run
    abyme show 20261123-09         a run by the beginning of its id
    abyme show --turn 2            one turn with every prompt and reply, whole
    abyme show --json | jq .event  the journal's events
    """
    from abyme.cli import show
    from abyme.journal.reader import find_run
    from abyme.journal.summary import newest_run

    where = _runs_folder(runs)
    folder = newest_run(where) if run is None else find_run(where, run)
    if as_json:
        show.show_json(folder, put, turn=turn)
    else:
        show.show(folder, put, turn=turn, width=width())


@app.command()
def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="List this many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="The runs, one JSON a line.")] = False,
    runs: RunsFolder = None,
) -> None:
    """List the runs, newest first."""
    from abyme.cli.runs import show_runs, show_runs_json

    folder = _runs_folder(runs)
    if as_json:
        show_runs_json(folder, put, limit=limit)
    else:
        show_runs(folder, put, say, limit=limit, width=width())


def _runs_folder(named: Path | None) -> Path:
    """The option, else what is configured."""
    from abyme.config import runs_folder
    from abyme.settings import load_settings

    return runs_folder(named or load_settings(os.environ, Path()).settings.runs or None)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="What was found, as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Ask the endpoint for its models, to try URL and key.")
    ] = False,
) -> None:
    """Say what is set up here, whether a run could be made, and what to do next."""
    from abyme.cli import doctor

    text, code = doctor.run(os.environ, Path(), as_json=as_json, check=check)
    put(text)
    sys.exit(code)


@app.command()
def init(
    user: Annotated[bool, typer.Option("--user", help="Your own file, for all folders.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file there is.")] = False,
) -> None:
    """Write a commented abyme.toml with every setting and its default."""
    from abyme.cli import init

    put(init.run(os.environ, Path(), user=user, force=force))
