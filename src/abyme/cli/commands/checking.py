"""``replay``, ``verify`` and ``diff``: whether a run is what it was, or the same as another."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from abyme.cli import options
from abyme.cli.console import put


@click.command()
@click.argument("run", shell_complete=options.complete_run)
@click.option("--accept-changed", is_flag=True, help="Although the data is not what it was.")
@click.option("--sandbox", metavar="NAME", help="process, bubblewrap, docker or podman.")
@click.option("--image", metavar="NAME", help="For docker and podman; fetch it first.")
@click.option("--unsafe-local", is_flag=True, help="Run code unconfined, with all your rights.")
@click.option("--json", "as_json", is_flag=True, help="What came of it, as JSON.")
@options.runs
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
    runs = options.runs_at(runs_folder)
    lines, code = replay.run(
        find_run(runs, run), runs, sandbox, accept_changed=accept_changed, as_json=as_json
    )
    for line in lines:
        put(line)
    sys.exit(code)


@click.command()
@click.argument("run", required=False, shell_complete=options.complete_run)
@click.option("--head", metavar="HASH", help="That was printed with the answer: compare it.")
@click.option("--data", is_flag=True, help="Read all data again, not only what seems changed.")
@click.option("--json", "as_json", is_flag=True, help="What was found, as JSON.")
@options.runs
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

    where = options.runs_at(runs_folder)
    folder = newest_run(where) if run is None else find_run(where, run)
    sys.exit(verify.run(folder, put, head=head, data=data, as_json=as_json))


@click.command()
@click.argument("a", metavar="A", shell_complete=options.complete_run)
@click.argument("b", metavar="B", shell_complete=options.complete_run)
@click.option("--json", "as_json", is_flag=True, help="What was found, as JSON.")
@options.runs
def diff(a: str, b: str, as_json: bool, runs_folder: str | None) -> None:
    """Compare two runs: figures side by side, and where they first differ.

    Questions, data, replies, code, output, calls and answers are compared; times, costs and names
    of models only shown. A and B are runs as for show.

    Exit codes: 0 the same, 1 different, 2 wrong usage or unreadable.
    """
    from abyme.cli.diff import diff_json, diff_lines
    from abyme.journal.diff import diff
    from abyme.journal.reader import find_run

    where = options.runs_at(runs_folder)
    found = diff(find_run(where, a), find_run(where, b))
    if as_json:
        put(diff_json(found))
    else:
        for line in diff_lines(found):
            put(line)
    sys.exit(0 if found.same else 1)
