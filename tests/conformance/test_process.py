"""The default sandbox keeps every promise, confined and unconfined."""

from __future__ import annotations

from abyme.conformance import SandboxConformance
from abyme.conformance.calls import CallChecks
from abyme.conformance.deadlines import DeadlineChecks
from abyme.conformance.ends import EndChecks
from abyme.conformance.exceptions import ExceptionChecks
from abyme.conformance.leaving import LeavingChecks
from abyme.conformance.namespace import NamespaceChecks
from abyme.conformance.repetition import RepetitionChecks
from abyme.conformance.restore import RestoreChecks
from abyme.conformance.texts import TextChecks
from abyme.inside.lockdown import LAYERS, STRICT
from abyme.sandbox.process import ProcessSandbox


class TestProcess(SandboxConformance):
    """As it comes."""

    def sandbox(self) -> ProcessSandbox:
        return ProcessSandbox(grace_seconds=0.5)


class TestUnsafeLocal(CallChecks, EndChecks, DeadlineChecks, LeavingChecks):
    """With nothing but a process between the code and its user: what the layers could change."""

    def sandbox(self) -> ProcessSandbox:
        return ProcessSandbox(grace_seconds=0.5, unsafe_local=True)


class Strict(ProcessSandbox, frozen=True):
    """As on a kernel without Landlock: no file is opened at all."""

    def asked_layers(self) -> tuple[str, ...]:
        return (*(layer for layer in LAYERS if layer != "landlock"), STRICT)


class TestStrict(
    NamespaceChecks, CallChecks, ExceptionChecks, TextChecks, RepetitionChecks, RestoreChecks
):
    """With what was imported before the lockdown, and nothing else: what needs modules."""

    def sandbox(self) -> ProcessSandbox:
        return Strict(grace_seconds=0.5)
