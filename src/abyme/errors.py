"""Every error that Abyme raises, in one tree.

::

    AbymeError
    ├── ConfigError           wrong arguments, an unknown model, no key, limits that make no sense
    ├── DataError             data that cannot be loaded
    │   └── DataChanged       a document is no longer what it was when the run began
    ├── ModelError            a call to a model failed (after our retries, where those make sense)
    │   ├── AuthError         401, 403: the key is missing, wrong, or may not use this model
    │   ├── ModelNotFound     404: the endpoint does not know the model or the path
    │   ├── RateLimited       429
    │   ├── EndpointError     5xx, refused, dropped or unreachable
    │   ├── CallTimeout       no whole reply within the deadline
    │   ├── WindowExceeded    the request does not fit the model's window
    │   └── BadReply          a reply that is no reply: HTML, broken JSON, nothing in it
    ├── CallFailed            a call from code failed otherwise: a tool raised, a child failed
    ├── BudgetExceeded        a limit of the run would be passed
    ├── Differs               cells that were run again did not do the same as before
    ├── SandboxError          the worker cannot be started, or broke the protocol
    └── JournalError          the journal cannot be written or read

A *run* does not raise for what befalls it once it has started: it returns an
:class:`~abyme.types.Answer` whose status says what happened. What raises is what the caller can
put right before anything is spent: :class:`ConfigError`, :class:`DataError`, and
:class:`JournalError` where the folder for runs cannot be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AbymeError(Exception):
    """Base of all errors raised by Abyme. ``str(error)`` is one line: what, and what to do."""

    @property
    def for_code(self) -> str:
        """What code in the REPL is told: without advice that only the user can follow."""
        return str(self)

    @property
    def kind(self) -> str:
        """The name of the exception that code in the REPL sees."""
        return type(self).__name__


class ConfigError(AbymeError):
    """The run cannot start as asked: arguments, model name, key or limits are wrong."""


class DataError(AbymeError):
    """The data cannot be loaded: missing, empty, unreadable, binary."""


class DataChanged(DataError):
    """A document changed, shrank or vanished while the run was reading it."""


class ModelError(AbymeError):
    """A model call failed.

    ``status`` is the HTTP status where there was one. ``retryable`` says whether the same request
    may succeed later. ``retry_after`` is the wait in seconds that the endpoint asked for.
    """

    retryable = False
    advice = ""
    """What the user can do where it ends the run; added to the run's reason."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class AuthError(ModelError):
    """The endpoint refused the key (401, 403)."""


class ModelNotFound(ModelError):
    """The endpoint knows neither the model nor, perhaps, the path (404)."""

    advice = "check --model and --base-url"


class RateLimited(ModelError):
    """The endpoint asks for fewer requests (429)."""

    retryable = True
    advice = "lower --max-width, or ask again later"


class EndpointError(ModelError):
    """The endpoint failed, refused or dropped the connection, or cannot be reached."""

    retryable = True
    advice = "check the server, or ask again later"


class CallTimeout(ModelError):
    """No whole reply came within the deadline of the attempt or of the call."""

    retryable = True
    advice = "check the server, or raise --call-seconds"


class WindowExceeded(ModelError):
    """The request does not fit the model's window. Asking again will not help; asking less will."""

    advice = "use a model with a larger window"


class BadReply(ModelError):
    """What came back is no reply: HTML, broken JSON, an empty message."""

    retryable = True
    advice = "check that --base-url is the API's address, and the model behind it"


class BudgetExceeded(AbymeError):
    """A limit would be passed. ``limit`` is the field of ``Limits`` that binds.

    ``node``: the child whose limit that is; "" where it is the run's own.
    """

    def __init__(self, limit: str, message: str, node: str = "") -> None:
        flag = limit.replace("max_", "child_") if node else limit
        super().__init__(f"{message}; raise it with --{flag.replace('_', '-')}")
        self.limit = limit
        self.node = node
        self._message = message

    @property
    def for_code(self) -> str:
        """The message without the advice to raise the limit."""
        return self._message


class CallFailed(AbymeError):
    """A call from code failed; ``kind`` names the exception that the code sees.

    ``details``: what that exception has beside its message, as JSON.
    """

    def __init__(
        self, message: str, kind: str = "CallError", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self._kind = kind
        self.details = details or {}

    @property
    def kind(self) -> str:
        """The name of the exception that code in the REPL sees."""
        return self._kind


class Differs(AbymeError):
    """Cells that were run again, to restore what they had made, did not do the same as before."""

    def __init__(self, cells: Sequence[int]) -> None:
        listed = ", ".join(map(str, cells[:10])) + (", …" if len(cells) > 10 else "")
        one = len(cells) == 1
        super().__init__(
            f"cell{'' if one else 's'} {listed} did not do the same when run again (by chance, by "
            "time, by threads?): --accept-different goes on from what came out now, and "
            f"`abyme fork` goes back to before {'it' if one else 'the first of them'}"
        )
        self.cells = tuple(cells)


class SandboxError(AbymeError):
    """The worker cannot be started, or it broke the protocol. Never what model-written code did."""


class JournalError(AbymeError):
    """The journal cannot be written (a full disk, a read-only folder) or cannot be read."""
