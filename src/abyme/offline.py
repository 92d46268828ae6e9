"""What can be done with a run that is over, without any model."""

from __future__ import annotations

import os

from abyme.config import runs_folder
from abyme.engine import engine
from abyme.errors import ConfigError
from abyme.journal.reader import find_run
from abyme.replaying import Replayed
from abyme.replaying import replay as do_again
from abyme.sandbox.base import Sandbox
from abyme.sandbox.process import ProcessSandbox
from abyme.spec import ReplaySpec


def replay(
    run: str,
    *,
    runs: str | os.PathLike[str] | None = None,
    sandbox: Sandbox | None = None,
    accept_changed: bool = False,
) -> Replayed:
    """Do a run again from its journal: all of its code, at no cost; see :class:`Replayed`.

    ``run``: its id, the beginning of it, or its folder. ``sandbox``: where the code runs; the
    default is a process of its own. ``accept_changed``: although documents are not what they were.

    Raises :class:`~abyme.errors.JournalError` where its journal cannot be read or was kept without
    texts, :class:`~abyme.errors.DataChanged`, :class:`~abyme.errors.SandboxError`, and
    :class:`~abyme.errors.ConfigError` for a folder outside of ``runs`` that names files to read.
    """
    if engine().is_current():
        raise ConfigError("replay() would wait for itself here")
    own = runs_folder(runs)
    spec = ReplaySpec(
        folder=find_run(own, run),
        runs=own,
        sandbox=sandbox or ProcessSandbox(),
        accept_changed=accept_changed,
    )
    doing = engine().submit(do_again(spec))
    try:
        return doing.result()
    except BaseException:
        doing.cancel()
        raise
