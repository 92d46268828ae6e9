"""The command ``abyme``: arguments in, exit codes out. Each command's work is in its own file.

Exit codes: 0 complete; 1 failed; 2 wrong usage, or data that cannot be loaded; 3 partial; 130
interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from abyme.cli import options
from abyme.cli.console import OutputError, put, say, width
from abyme.version import __version__

FAILED = 1
USAGE = 2
_ASKING = (["ask"], ["resume"], ["fork"])
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


class _InOrder(click.Group):
    """Commands are listed as they stand here, the first hour's first. Some have two words."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if (two := self.commands.get(" ".join(args[:2]))) is not None and len(args) > 1:
            return two.name, two, args[2:]
        return super().resolve_command(ctx, args)


def run() -> None:
    """Do what the arguments say: every error is one line and an exit code, never a traceback."""
    from abyme.errors import AbymeError

    try:
        sys.exit(app(standalone_mode=False, prog_name="abyme"))
    except AbymeError as error:  # what befalls a run is in its answer: these come before it
        say(f"abyme: {error}")
        sys.exit(USAGE)
    except click.ClickException as error:
        say(f"abyme: {_usage(error.format_message())}")
        sys.exit(USAGE)
    except BrokenPipeError:  # the reader of our output left (`| head`), which is its right
        os._exit(FAILED)
    except OutputError as error:
        say(f"abyme: {error}" + ("; `abyme show` has the answer" * (sys.argv[1:2] in _ASKING)))
        os._exit(FAILED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:  # click's own echo of help
            say(f"abyme: cannot write to stdout: {error.strerror}")
            os._exit(FAILED)
        if os.environ.get("ABYME_TRACEBACK"):
            raise
        say(
            f"abyme: a fault of its own: {type(error).__name__}: {error} "
            "(ABYME_TRACEBACK=1 shows where)"
        )
        sys.exit(FAILED)


def _usage(message: str) -> str:
    """What was wrong with the command line, and where to look."""
    message = message.strip().rstrip(".?")
    if message.startswith("No such command") and "Did you mean" not in message:
        return f"{message}: to ask something, abyme ask QUESTION PATHS…; else see `abyme --help`"
    if message.startswith("No such option") and sys.argv[1:2] == ["ask"]:
        message += " (what begins with a dash and is no option comes after --)"
    named = (" ".join(sys.argv[1 : 1 + words]) for words in (2, 1))
    command = next((f"{name} " for name in named if name in app.commands), "")
    return f"{message}; see `abyme {command}--help`"


def _complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from abyme.cli.runs import complete_run

    return complete_run(incomplete)


def _complete_path(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    return click.Path().shell_complete(ctx, param, incomplete)


def _complete_gc(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return ["gc"] if "gc".startswith(incomplete) and not ctx.params.get("words") else []


def _complete_status(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from abyme.journal.summary import STATUSES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + status for status in STATUSES if status.startswith(last)]


_runs_option = click.option(
    "--runs", "runs_folder", metavar="FOLDER", help="Folder of runs; else ABYME_RUNS."
)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="abyme %(version)s", help="Print the version.")
@click.pass_context
def app(ctx: click.Context) -> None:
    """Ask anything of data far larger than a model's window.

    \b
    abyme ask "Which contracts renew by themselves?" contracts/
    journalctl | abyme ask "What broke at 14:03, and why?"
    abyme show          what the last run did, turn by turn
    abyme resume        go on with one that was killed or ended by a limit
    abyme doctor        what is set up here, and what to do next
    """
    if ctx.invoked_subcommand is None:
        put(ctx.get_help())
        sys.exit(USAGE)


@app.command()
@click.argument(
    "arguments", nargs=-1, metavar="[QUESTION | PATHS]...", shell_complete=_complete_path
)
@click.option("--question", metavar="TEXT", help="The question, if it could be taken for a path.")
@click.option(
    "--continue",
    "run",
    metavar="RUN",
    help="Ask on in that run, with its data and variables.",
    shell_complete=_complete_run,
)
@options.models(defaults=True)
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out of folders.")
@click.option("--no-ignore", is_flag=True, help="Read what .gitignore files leave out.")
@click.option("--hidden", is_flag=True, help="Read hidden files in folders.")
@options.sandboxes
@options.accepts
@click.option("--redact", is_flag=True, help="Keep hashes, no texts; cannot be gone on with.")
@options.durable
@click.option("--dry-run", is_flag=True, help="Show what would be sent first; send nothing.")
@options.display
@_runs_option
def ask(
    arguments: tuple[str, ...],
    question: str | None,
    run: str | None,
    no_ignore: bool,
    hidden: bool,
    unsafe_local: bool,
    accept_changed: bool,
    accept_different: bool,
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
            exclude=exclude, no_ignore=no_ignore, hidden=hidden, redact=redact, dry_run=dry_run
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


@app.command()
@click.argument("run", required=False, shell_complete=_complete_run)
@options.models(defaults=False)
@options.sandboxes
@options.accepts
@options.durable
@options.display
@_runs_option
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


@app.command()
@click.argument("run", required=False, shell_complete=_complete_run)
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
@_runs_option
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


@app.command()
@click.argument("run", required=False, shell_complete=_complete_run)
@click.option("--turn", type=int, metavar="N", help="This turn alone, in full.")
@click.option("--json", "as_json", is_flag=True, help="The events, one JSON a line.")
@_runs_option
def show(run: str | None, turn: int | None, as_json: bool, runs_folder: str | None) -> None:
    """Show a run: turns, code, output, calls, cost, answer.

    RUN is an id, the beginning of one, or a folder; the newest run where it is not given.

    \b
    abyme show                     the newest run
    abyme show 20261123-09         a run by the beginning of its id
    abyme show --turn 2            one turn with every prompt and reply, whole
    abyme show --json | jq .event  the journal's events
    """
    from abyme.cli import show
    from abyme.journal.reader import find_run
    from abyme.journal.summary import newest_run

    where = _where(runs_folder)
    folder = newest_run(where) if run is None else find_run(where, run)
    if as_json:
        show.show_json(folder, put, turn=turn)
    else:
        show.show(folder, put, turn=turn, width=width())


@app.command()
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
@_runs_option
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
    folder = _where(runs_folder)
    if as_json:
        show_runs_json(folder, put, wanted=wanted, limit=limit)
    else:
        show_runs(folder, put, say, wanted=wanted, limit=limit, width=width())


@app.command("runs gc")
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
@_runs_option
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
    folder = _where(runs_folder)
    sys.exit(show_gc(folder, criteria, put, say, apply=apply, width=width()))


@app.command()
@click.argument("run", shell_complete=_complete_run)
@click.option("--accept-changed", is_flag=True, help="Although the data is not what it was.")
@click.option("--sandbox", metavar="NAME", help="process, bubblewrap, docker or podman.")
@click.option("--image", metavar="NAME", help="For docker and podman; fetch it first.")
@click.option("--unsafe-local", is_flag=True, help="Run code unconfined, with all your rights.")
@click.option("--json", "as_json", is_flag=True, help="What came of it, as JSON.")
@_runs_option
def replay(
    run: str,
    accept_changed: bool,
    unsafe_local: bool,
    as_json: bool,
    runs_folder: str | None,
    **flags: str | None,
) -> None:
    """Do a run again, offline: its code runs, its calls are answered from the journal.

    Says that all came out the same, or where the first difference is. Nothing is asked, spent or
    written.

    Exit codes: 0 the same, 1 different, 2 wrong usage or data.
    """
    from abyme.cli import replay
    from abyme.cli.sandboxes import chosen_sandbox
    from abyme.hardening import harden
    from abyme.journal.reader import find_run
    from abyme.settings import load_settings

    harden()
    settings = load_settings(os.environ, Path()).over(**flags)
    sandbox = chosen_sandbox(settings, unsafe_local=unsafe_local)
    folder = find_run(_where(runs_folder), run)
    lines, code = replay.run(folder, sandbox, accept_changed=accept_changed, as_json=as_json)
    for line in lines:
        put(line)
    sys.exit(code)


@app.command()
@click.argument("run", required=False, shell_complete=_complete_run)
@click.option("--head", metavar="HASH", help="That was printed with the answer: compare it.")
@click.option("--data", is_flag=True, help="Read all data again, not only what seems changed.")
@click.option("--json", "as_json", is_flag=True, help="What was found, as JSON.")
@_runs_option
def verify(
    run: str | None, head: str | None, data: bool, as_json: bool, runs_folder: str | None
) -> None:
    """Check that nothing of a run was changed since it was written.

    RUN is an id, the beginning of one, or a folder; the newest run where it is not given. Every
    line, every text, every copy of data, and every quote of the answer is read again. What stands
    in the last line, only --head can vouch for.

    \b
    abyme verify 20261123-09 --head 4c0f9dd1a0b5f7c2e6b31d0f8a2c5e77
    abyme verify --data --json | jq .problems

    Exit codes: 0 whole, 1 damaged or different, 2 wrong usage, or no such run.
    """
    from abyme.cli import verify
    from abyme.journal.reader import find_run
    from abyme.journal.summary import newest_run

    where = _where(runs_folder)
    folder = newest_run(where) if run is None else find_run(where, run)
    sys.exit(verify.run(folder, put, head=head, data=data, as_json=as_json))


@app.command()
@click.argument("a", metavar="A", shell_complete=_complete_run)
@click.argument("b", metavar="B", shell_complete=_complete_run)
@click.option("--json", "as_json", is_flag=True, help="What was found, as JSON.")
@_runs_option
def diff(a: str, b: str, as_json: bool, runs_folder: str | None) -> None:
    """Compare two runs: figures side by side, and where they first differ.

    Questions, data, replies, code, output, calls and answers are compared; times, costs and names
    of models only shown. A and B are runs as for show.

    Exit codes: 0 the same, 1 different, 2 wrong usage or unreadable.
    """
    from abyme.cli.diff import diff_json, diff_lines
    from abyme.journal.diff import diff
    from abyme.journal.reader import find_run

    where = _where(runs_folder)
    found = diff(find_run(where, a), find_run(where, b))
    if as_json:
        put(diff_json(found))
    else:
        for line in diff_lines(found):
            put(line)
    sys.exit(0 if found.same else 1)


@app.command()
@click.option("--check", is_flag=True, help="Ask the endpoint for its models, to try URL and key.")
@click.option("--json", "as_json", is_flag=True, help="What was found, as JSON.")
def doctor(check: bool, as_json: bool) -> None:
    """Say what is set up here, and what to do next.

    Nothing is sent beyond this machine, unless --check is given; no key is shown. The exit code
    is 0 where a run could be made, else 1.
    """
    from abyme.cli import doctor

    text, code = doctor.run(os.environ, Path(), as_json=as_json, check=check)
    put(text)
    sys.exit(code)


@app.command()
@click.option("--user", is_flag=True, help="Your own file, for all folders.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(user: bool, force: bool) -> None:
    """Write a commented abyme.toml with every setting.

    As written it changes nothing. A folder's own file may set a model and limits, but no address
    and no key: these stand in yours (--user).
    """
    from abyme.cli import init

    put(init.run(os.environ, Path(), user=user, force=force))


@app.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that makes a shell complete what is typed.

    Options, paths, and the ids of runs.

    \b
    eval "$(abyme completion bash)"             in ~/.bashrc
    eval "$(abyme completion zsh)"              in ~/.zshrc
    abyme completion fish | source              in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None  # Choice has only the three that click knows
    put(script(app, {}, "abyme", "_ABYME_COMPLETE").source())


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
    from abyme.cli.ask.going_on import Wish, further_question, order_to_go_on
    from abyme.hardening import harden

    harden()
    if further is not None:
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


def _where(named: str | None) -> Path:
    """The folder of runs: the option, else what is configured."""
    from abyme.config import runs_folder
    from abyme.settings import configured_runs

    return runs_folder(named or configured_runs(os.environ) or None)


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
