"""What a sandbox promises, as checks that somebody else's sandbox can be put to.

Under pytest, every check as a test of its own::

    from abyme.conformance import SandboxConformance

    class TestMine(SandboxConformance):
        def sandbox(self):
            return MySandbox()

Without pytest: ``python -m abyme.conformance mypackage:make_sandbox``, or :func:`check`. The
docstrings of the checks are the specification, beside :mod:`abyme.sandbox.base`.
"""

from __future__ import annotations

from abyme.conformance.report import Outcome, Report, check
from abyme.conformance.suite import SandboxConformance
from abyme.conformance.trial import Broken, Untried

__all__ = ["Broken", "Outcome", "Report", "SandboxConformance", "Untried", "check"]
