"""``doctor``, ``init`` and ``completion``: what is set up here, and what can be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from abyme.cli.console import put


@click.command()
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


@click.command()
@click.option("--user", is_flag=True, help="Your own file, for all folders.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(user: bool, force: bool) -> None:
    """Write a commented abyme.toml with every setting.

    As written it changes nothing. A folder's own file may set a model and limits, but no address
    and no key: these stand in yours (--user).
    """
    from abyme.cli import init

    put(init.run(os.environ, Path(), user=user, force=force))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
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
    put(script(ctx.find_root().command, {}, "abyme", "_ABYME_COMPLETE").source())
