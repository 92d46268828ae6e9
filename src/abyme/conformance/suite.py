"""All checks together."""

from __future__ import annotations

from abyme.conformance.calls import CallChecks
from abyme.conformance.deadlines import DeadlineChecks
from abyme.conformance.ends import EndChecks
from abyme.conformance.exceptions import ExceptionChecks
from abyme.conformance.fidelity import FidelityChecks
from abyme.conformance.isolation import IsolationChecks
from abyme.conformance.leaving import LeavingChecks
from abyme.conformance.namespace import NamespaceChecks
from abyme.conformance.output import OutputChecks
from abyme.conformance.repetition import RepetitionChecks
from abyme.conformance.restore import RestoreChecks
from abyme.conformance.texts import TextChecks

AREAS = {
    "namespace": NamespaceChecks,
    "calls": CallChecks,
    "exceptions": ExceptionChecks,
    "ends": EndChecks,
    "deadlines": DeadlineChecks,
    "output": OutputChecks,
    "fidelity": FidelityChecks,
    "texts": TextChecks,
    "isolation": IsolationChecks,
    "repetition": RepetitionChecks,
    "restore": RestoreChecks,
    "leaving": LeavingChecks,
}
"""The classes of checks by what they are about, in the order in which to read them."""


class SandboxConformance(
    NamespaceChecks,
    CallChecks,
    ExceptionChecks,
    EndChecks,
    DeadlineChecks,
    OutputChecks,
    FidelityChecks,
    TextChecks,
    IsolationChecks,
    RepetitionChecks,
    RestoreChecks,
    LeavingChecks,
):
    """Every check. Say in a subclass which ``sandbox`` to try; ``patience`` lengthens deadlines.

    Each method whose name begins with ``test_`` is one check, which raises
    :class:`~abyme.conformance.trial.Broken` where the promise does not hold and
    :class:`~abyme.conformance.trial.Untried` where it cannot be tried.
    """
