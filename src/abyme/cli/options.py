"""Options that several commands have, in the same words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_LIMITS = {
    "max-cost": ("$", "US dollars; 5."),
    "max-seconds": ("N", "For the whole run; 1800."),
    "max-calls": ("N", "Model calls; 1000."),
    "max-tokens": ("N", "In and out together; no limit."),
    "max-input-tokens": ("N", "In alone; no limit."),
    "max-output-tokens": ("N", "Out alone; no limit."),
    "max-turns": ("N", "Turns of the root; 30."),
    "max-width": ("N", "Model calls at once; as the endpoint bears."),
    "max-depth": ("N", "Depth of recursion; 1: sub-calls are plain."),
    "cell-seconds": ("N", "That a cell may compute; 120."),
    "call-seconds": ("N", "For one model call; 600."),
    "child-turns": ("N", "Turns of a child; 15."),
    "child-calls": ("N", "Model calls of a child; what its parent has left."),
    "child-tokens": ("N", "Tokens of a child; what its parent has left."),
    "child-cost": ("$", "Of a child; what its parent has left."),
    "child-seconds": ("N", "For a child; what its parent has left."),
}
"""What each limit is, and behind the semicolon what it is by default."""


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options, in this order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _limits(*, defaults: bool) -> Callable[[F], F]:
    """An option for every limit. They are read as settings are: a number, or "none"."""
    return _options(
        *(
            click.option(
                f"--{name}",
                metavar=metavar,
                help=about if defaults else about.partition(";")[0].rstrip(".") + ".",
            )
            for name, (metavar, about) in _LIMITS.items()
        )
    )


def models(*, defaults: bool) -> Callable[[F], F]:
    """Who is asked, at which price, and what may be spent; ``defaults``: what it is by default."""
    return _options(
        click.option(
            "--model",
            metavar="NAME",
            help="Drives the REPL: openai:NAME, NAME with --base-url, reader.",
        ),
        click.option("--sub-model", metavar="NAME", help="Answers sub-calls; else the same model."),
        click.option(
            "--child-model",
            metavar="NAME",
            multiple=True,
            help="Drives children's REPLs; again for each depth.",
        ),
        click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint, up to /v1."),
        click.option("--price", metavar="IN,OUT", help="$ per million tokens, where not known."),
        click.option("--sub-price", metavar="IN,OUT", help="The same of the sub-model."),
        click.option("--child-price", metavar="IN,OUT", help="The same of other child models."),
        _limits(defaults=defaults),
    )


sandboxes = _options(
    click.option("--sandbox", metavar="NAME", help="process, bubblewrap, docker or podman."),
    click.option("--image", metavar="NAME", help="For docker and podman; fetch it first."),
    click.option("--unsafe-local", is_flag=True, help="Run code unconfined, with all your rights."),
)
accepts = _options(
    click.option("--accept-changed", is_flag=True, help="Go on although documents changed."),
    click.option(
        "--accept-different", is_flag=True, help="Go on although re-run cells did otherwise."
    ),
)
durable = click.option("--durable", is_flag=True, help="Wait until each event is on the disk.")
display = _options(
    click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON."),
    click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr."),
    click.option("-v", "--verbose", is_flag=True, help="Code, output and sub-calls on stderr."),
)
runs = click.option(
    "--runs", "runs_folder", metavar="FOLDER", help="Folder of runs; else ABYME_RUNS."
)


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The ids of runs that begin so."""
    from abyme.cli.runs import complete_run

    return complete_run(incomplete)


def runs_at(named: str | None) -> Path:
    """The folder of runs: the option, else what is configured."""
    from abyme.config import runs_folder
    from abyme.settings import configured_runs

    return runs_folder(named or configured_runs(os.environ) or None)
