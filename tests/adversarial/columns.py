"""What the table of docs/threat-model.md says of an attempt: a column a sandbox.

Another sandbox is another entry of :data:`COLUMNS`: its name, and by what an attempt is held there,
as its test asserts it. What is held by the host alone is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable

from adversarial.attempts import ATTEMPTS, Attempt
from adversarial.boundaries import BUBBLEWRAP_LETS_THROUGH
from adversarial.forgeries import FORGERIES, Forgery


def _by_layers(attempt: Attempt) -> str:
    return ", ".join(attempt.layers)


def _by_bubblewrap(attempt: Attempt) -> str:
    """Bubblewrap by itself, where that is enough, and the same layers inside."""
    alone = attempt.name not in BUBBLEWRAP_LETS_THROUGH.get(attempt.group, ())
    return ", ".join((*(["bubblewrap"] if alone else []), *attempt.layers))


COLUMNS: dict[str, Callable[[Attempt], str]] = {
    "process": _by_layers,
    "bubblewrap": _by_bubblewrap,
}


def by_host(forgery: Forgery) -> str:
    """The check that holds it; where its absence cannot be shown, why."""
    if isinstance(forgery.off, str):
        return f"{forgery.held_by} (not shown: {forgery.off})"
    return forgery.held_by


def counts() -> str:
    """How many there are of each kind, in a sentence or two."""
    several = sum(len(each.layers) > 1 for each in ATTEMPTS)
    alone = ", ".join(
        f"{sum(each.layers == (layer,) for each in ATTEMPTS)} by {layer} alone"
        for layer in ("landlock", "seccomp", "rlimits")
    )
    shown = sum(not isinstance(each.off, str) for each in FORGERIES)
    return (
        f"{len(ATTEMPTS)} attempts on the kernel's side: {several} are held by more than one "
        f"layer, {alone}.\n{len(FORGERIES)} attempts on the host: {shown} are shown to do harm "
        f"without the check that is named, for {len(FORGERIES) - shown} there is nothing to switch "
        "off."
    )
