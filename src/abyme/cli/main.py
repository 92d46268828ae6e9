"""The command ``abyme``: its group, and what errors come to. Each command is in ``commands/``.

Exit codes: 0 complete; 1 failed; 2 wrong usage, or data that cannot be loaded; 3 partial; 130
interrupted.
"""

from __future__ import annotations

import errno
import os
import sys

import click

from abyme.cli.commands import asking, checking, looking, setup
from abyme.cli.console import OutputError, put, say
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


for _command in (
    asking.ask,
    asking.resume,
    asking.fork,
    looking.show,
    looking.runs,
    looking.runs_gc,
    checking.replay,
    checking.verify,
    checking.diff,
    setup.doctor,
    setup.init,
    setup.completion,
):
    app.add_command(_command)
