"""The command ``abyme``: arguments in, exit codes out. What is shown is in :mod:`.show`.

Exit codes: 0 complete; 1 failed; 2 wrong usage, or data that cannot be loaded; 3 partial; 130
interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="abyme",
    help="Ask anything of data far larger than a model's window.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

EXIT = {"complete": 0, "failed": 1, "partial": 3}
USAGE = 2
INTERRUPTED = 130


def run() -> None:
    """Do what the arguments say: every error is one line and an exit code, never a traceback."""
    from abyme.errors import AbymeError

    try:
        sys.exit(app(standalone_mode=False))
    except AbymeError as error:  # what befalls a run is in its answer: these come before it
        _say(f"abyme: {error}")
        sys.exit(USAGE)
    except (BrokenPipeError, OutputError) as error:
        # The reader of our output left (`| head`), which is its right; or the disk is full.
        if isinstance(error, OutputError):
            _say(f"abyme: {error}; `abyme show` has the answer")
        os._exit(EXIT["failed"])
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own, whichever click it was built with
            message = str(error.format_message()).strip().rstrip(".")
            _say(f"abyme: {message}; see `abyme {_command()}--help`")
            sys.exit(USAGE)
        if os.environ.get("ABYME_TRACEBACK"):
            raise
        _say(
            f"abyme: a fault of its own: {type(error).__name__}: {error} "
            "(ABYME_TRACEBACK=1 shows where)"
        )
        sys.exit(EXIT["failed"])


def _command() -> str:
    return f"{sys.argv[1]} " if sys.argv[1:2] in (["ask"], ["show"]) else ""


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Ask anything of data far larger than a model's window."""
    if version:
        from abyme.version import __version__

        typer.echo(f"abyme {__version__}")
        raise typer.Exit


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    paths: Annotated[list[Path], typer.Argument(help="Files and directories to ask about.")],
    model: Annotated[
        str,
        typer.Option(
            envvar="ABYME_MODEL",
            help="Drives the REPL: openai:NAME, NAME with --base-url, scripted:FILE, reader.",
        ),
    ] = "",
    sub_model: Annotated[
        str, typer.Option(help="Answers llm_query; the same model where not given.")
    ] = "",
    base_url: Annotated[
        str, typer.Option(help="An OpenAI-compatible endpoint, up to and with /v1.")
    ] = "",
    max_turns: Annotated[int | None, typer.Option(help="Turns of the root; 30.")] = None,
    max_calls: Annotated[int | None, typer.Option(help="Model calls; 1,000.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens in and out; no limit.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(help="US dollars, where prices are known; 5.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Seconds for the whole run; 1,800.")
    ] = None,
    max_depth: Annotated[
        int | None, typer.Option(help="Depth of recursion; only 1 for now.")
    ] = None,
    max_width: Annotated[int | None, typer.Option(help="Model calls at once; 64.")] = None,
    cell_seconds: Annotated[
        float | None, typer.Option(help="Seconds a cell may compute; 120.")
    ] = None,
    call_seconds: Annotated[
        float | None, typer.Option(help="Seconds for one model call; 600.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave out what matches this pattern in directories; repeatable."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder for journals; else ABYME_RUNS.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False,
) -> None:
    """Answer QUESTION from the data at PATHS."""
    from abyme.config import Limits
    from abyme.errors import ConfigError

    if not model:
        raise ConfigError("no model: give --model (openai:NAME, or reader, which needs no key)")
    given: dict[str, Any] = {
        "max_turns": max_turns,
        "max_calls": max_calls,
        "max_tokens": max_tokens,
        "max_cost": max_cost,
        "max_seconds": max_seconds,
        "max_depth": max_depth,
        "max_width": max_width,
        "cell_seconds": cell_seconds,
        "call_seconds": call_seconds,
    }
    limits = Limits(**{name: value for name, value in given.items() if value is not None})

    from abyme.rlm import RLM

    rlm = RLM(model, sub_model or None, base_url=base_url or None, limits=limits, runs=runs)
    _run(rlm, question, paths[0] if len(paths) == 1 else list(paths), exclude, as_json, quiet)


def _run(
    rlm: Any, question: str, context: Any, exclude: list[str] | None, as_json: bool, quiet: bool
) -> None:
    from abyme.cli.progress import Progress
    from abyme.cli.show import answer_json
    from abyme.cli.text import closing_line, quote_lines

    interrupted = False
    progress = Progress(_say) if not quiet else None
    handle = rlm.start(question, context, progress, exclude=exclude or ())

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            os._exit(INTERRUPTED)
        interrupted = True
        handle.interrupt()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    answer = handle.future.result()
    if as_json:
        _print(answer_json(answer))
    elif answer.text:
        # Into a file or a pipe exactly as it is; on a terminal nothing in it may act.
        _print(_printable(answer.text) if _on_terminal() else answer.text)
    if not quiet:
        for line in quote_lines(answer):
            _say(line)
    if not quiet or answer.status != "complete":
        _say(closing_line(answer))
    sys.exit(INTERRUPTED if interrupted else EXIT[answer.status])


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's id, the beginning of one, or its folder.")],
    runs: Annotated[
        Path | None, typer.Option(help="Folder of journals; else ABYME_RUNS.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The events, one JSON a line.")] = False,
) -> None:
    """Show a run: turns, code, output, calls, cost, answer."""
    from abyme.cli.show import event_lines, run_lines
    from abyme.config import runs_folder
    from abyme.journal.reader import find_run, read

    records = read(find_run(runs_folder(runs), run))
    for line in event_lines(records) if as_json else run_lines(records):
        _print(line if as_json else _printable(line))


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _say(line: str) -> None:
    """One line on stderr; control characters of file names and errors cannot act there.

    Never raises: a stderr that is closed or full must not cost the answer.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(_printable(line.replace("\n", " ")) + "\n")
            sys.stderr.flush()


def _print(text: str) -> None:
    """Text on stdout as UTF-8; a lone surrogate as its escape, which JSON can read too.

    Raises :class:`BrokenPipeError` where the reader has left, :class:`OutputError` where stdout
    cannot be written otherwise.
    """
    raw = text.encode("utf-8", "backslashreplace")
    try:
        sys.stdout.buffer.write(raw if raw.endswith(b"\n") else raw + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to stdout: {error.strerror}") from error
    except AttributeError:
        raise OutputError("cannot write to stdout: it is closed") from None


class OutputError(Exception):
    """Stdout is closed or full. What was to be printed is in the run's journal."""


def _printable(text: str) -> str:
    """``text`` with its control characters, line breaks and tabs excepted, as escapes."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else _escape(letter) for letter in text
    )


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
