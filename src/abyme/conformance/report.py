"""All checks of one sandbox, one after the other, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from abyme.conformance.suite import AREAS, SandboxConformance
from abyme.conformance.trial import Broken, Untried
from abyme.sandbox.base import Sandbox

Verdict = Literal["holds", "broken", "not tried"]


class Outcome(msgspec.Struct, frozen=True):
    """What became of one check."""

    area: str
    check: str
    """What is promised, as a sentence."""
    verdict: Verdict
    said: str = ""
    """What was found instead, or why it was not tried."""
    seconds: float = 0.0

    def __str__(self) -> str:
        said = " ".join(self.said.split())
        return f"{self.verdict:9}  {self.area}: {self.check}" + (f" — {said}" if said else "")


class Report(msgspec.Struct, frozen=True):
    """What became of all of them."""

    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether there were checks, and all of them hold that could be tried."""
        return bool(self.outcomes) and not self.broken and bool(self._with("holds"))

    @property
    def broken(self) -> tuple[Outcome, ...]:
        """Those that do not hold."""
        return self._with("broken")

    def _with(self, verdict: Verdict) -> tuple[Outcome, ...]:
        return tuple(each for each in self.outcomes if each.verdict == verdict)

    def __str__(self) -> str:
        counts = [
            f"{len(self._with('holds'))} hold",
            f"{len(self._with('broken'))} broken",
            f"{len(self._with('not tried'))} not tried",
        ]
        return "\n".join([*map(str, self.outcomes), ", ".join(counts)])


def check(
    sandbox: Sandbox | Callable[[], Sandbox],
    only: tuple[str, ...] = (),
    *,
    patience: float = 1.0,
    tell: Callable[[Outcome], None] | None = None,
) -> Report:
    """Try every check on ``sandbox``, or on what it makes where it is a function.

    ``only``: those alone whose area or sentence contains one of these. ``patience``: how many
    times as long all deadlines are. ``tell`` gets each outcome when it is there. Never raises for
    what a sandbox does.
    """
    return Report(tuple(_outcomes(sandbox, only, patience, tell or _nobody)))


def sentences() -> Iterator[tuple[str, str, str]]:
    """Of every check its area, the name of its method, and its sentence."""
    for area, checks in AREAS.items():
        for name in vars(checks):
            if name.startswith("test_"):
                yield area, name, name.removeprefix("test_").replace("_", " ")


def _outcomes(
    sandbox: Sandbox | Callable[[], Sandbox],
    only: tuple[str, ...],
    patience: float,
    tell: Callable[[Outcome], None],
) -> Iterator[Outcome]:
    trial = _trial(sandbox, patience)
    for area, name, sentence in sentences():
        if only and not any(word in f"{area}: {sentence}" for word in only):
            continue
        started = time.monotonic()
        verdict, said = _try(getattr(trial, name))
        outcome = Outcome(area, sentence, verdict, said, time.monotonic() - started)
        tell(outcome)
        yield outcome


def _try(test: Callable[[], None]) -> tuple[Verdict, str]:
    try:
        test()
    except Untried as reason:
        return "not tried", str(reason)
    except Broken as found:
        return "broken", str(found)
    except Exception as error:  # whatever a sandbox raises is what is wrong with it
        return "broken", f"{type(error).__name__}: {error}"
    return "holds", ""


def _trial(sandbox: Sandbox | Callable[[], Sandbox], how_patient: float) -> SandboxConformance:
    class Given(SandboxConformance):
        patience = how_patient

        def sandbox(self) -> Sandbox:
            return sandbox() if callable(sandbox) else sandbox

    return Given()


def _nobody(outcome: Outcome) -> None:
    """Who is told where nobody wants to be."""
