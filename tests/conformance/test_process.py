"""The default sandbox keeps every promise, confined and unconfined."""

from __future__ import annotations

from abyme.conformance import SandboxConformance
from abyme.inside.lockdown import LAYERS, STRICT
from abyme.sandbox.process import ProcessSandbox


class TestProcess(SandboxConformance):
    """As it comes."""

    def sandbox(self) -> ProcessSandbox:
        return ProcessSandbox(grace_seconds=0.5)


class TestUnsafeLocal(SandboxConformance):
    """With nothing but a process between the code and its user."""

    def sandbox(self) -> ProcessSandbox:
        return ProcessSandbox(grace_seconds=0.5, unsafe_local=True)


class Strict(ProcessSandbox, frozen=True):
    """As on a kernel without Landlock: no file is opened at all."""

    def asked_layers(self) -> tuple[str, ...]:
        return (*(layer for layer in LAYERS if layer != "landlock"), STRICT)


class TestStrict(SandboxConformance):
    """With what was imported before the lockdown, and nothing else."""

    def sandbox(self) -> ProcessSandbox:
        return Strict(grace_seconds=0.5)
