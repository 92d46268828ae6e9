"""Which failures are worth another attempt, and how long to wait before it."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence

import msgspec

from abyme.errors import BadReply, CallTimeout, EndpointError, ModelError, RateLimited

_NEVER_CONNECTED = {
    errno.ECONNREFUSED,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENETDOWN,
    errno.EMFILE,
    errno.ENFILE,
}
_AWAY = {502, 503, 504}
"""What stands in front of a server says while that is away: a proxy, a load balancer."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When to try again. How long all attempts together may take is the call's deadline.

    A 429 is tried again until that deadline; other failures that may pass, ``attempts`` times; a
    reply that is none (:class:`~abyme.errors.BadReply`, an empty one included), ``replies`` times.
    An endpoint that has answered before and is away now (:func:`is_away`) is waited for until the
    deadline, too: it is being restarted. One that never answered is more likely a wrong address.
    """

    attempts: int = 6
    """Attempts that may fail for other reasons than a 429."""
    replies: int = 3
    """Attempts that may end in no usable reply."""
    base: float = 0.5
    """Seconds: the longest first wait. It doubles with each failure."""
    cap: float = 30.0
    """Seconds: the longest wait, where the endpoint names none."""
    away_cap: float = 5.0
    """Seconds: the same for an endpoint that is away. Asking costs nothing, and nobody knows when
    it is back."""
    share: float = 0.5
    """The part of the call's seconds that one attempt gets: a hung connection is cut, and there
    is time left to try again."""
    chance: Callable[[], float] = random.random
    """A number from 0 to 1, for the jitter that keeps many callers from coming back at once."""

    def wait(self, failures: Sequence[ModelError], *, known: bool = False) -> float | None:
        """Seconds to wait after the last of ``failures``, those of one call so far in order.

        ``known``: the endpoint has answered the run before. None: give up. At least Retry-After
        where the endpoint named one; else exponential with full jitter.
        """
        last = failures[-1]
        waits_for_it = known and is_away(last)
        if not last.retryable or not (waits_for_it or self._may_go_on(last, failures, known)):
            return None
        if last.retry_after is not None:
            return max(0.0, last.retry_after) + self.base * self.chance()
        doublings = min(len(failures) - 1, 30)  # 2.0 ** 1100 would overflow
        cap = self.away_cap if waits_for_it else self.cap
        return min(cap, self.base * 2.0**doublings) * self.chance()

    def _may_go_on(self, last: ModelError, failures: Sequence[ModelError], known: bool) -> bool:
        if isinstance(last, RateLimited):
            return True
        if isinstance(last, BadReply):
            return sum(isinstance(error, BadReply) for error in failures) < self.replies
        counted = (
            error
            for error in failures
            if not isinstance(error, RateLimited) and not (known and is_away(error))
        )
        return sum(1 for _ in counted) < self.attempts


def is_away(error: ModelError) -> bool:
    """Whether ``error`` says that the endpoint is not there just now, rather than that it failed.

    No connection came about, or something in front of it (502, 503, 504) says so.
    """
    return isinstance(error, EndpointError) and (error.status in _AWAY or _never_sent(error))


def may_be_billed(error: ModelError) -> bool:
    """Whether the endpoint may bill the attempt that ended in ``error``.

    No: whatever was answered with an HTTP error, and connections that never came about. Yes:
    timeouts, connections dropped in flight, and replies that are none.
    """
    if isinstance(error, CallTimeout | BadReply):
        return True
    return isinstance(error, EndpointError) and error.status is None and not _never_sent(error)


def _never_sent(error: BaseException) -> bool:
    """Whether a cause of ``error`` says that no connection was made, so nothing was sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and isinstance(cause.errno, int):
            # name resolution fails with the negative codes of getaddrinfo
            return cause.errno in _NEVER_CONNECTED or cause.errno < 0
        cause = cause.__cause__ or cause.__context__
    return False
