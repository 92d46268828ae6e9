"""What a host call gives back in the REPL, and how its failures look to code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


class CallError(RuntimeError):
    """A call to the host failed: a sub-call, a tool, ``budget``. The message says why."""


class BudgetExceeded(CallError):
    """The run may not spend what the call would cost; nothing was spent on it."""


class ChildFailed(CallError):
    """A child ended without a whole answer.

    ``draft`` is the best that it had, ``status`` "partial" or "failed", ``cost`` in US dollars
    (None where a price is not known).
    """

    draft = ""
    status = ""
    cost: float | None = None


class ChildRefused(CallError):
    """A child was not begun: it would have had your data and your question; nothing was spent.

    ``insist=True`` begins it.
    """


class PromptTooLong(CallError):
    """The prompt does not fit the model's window; nothing was spent on it."""


class SchemaError(CallError):
    """A reply does not fit the schema that was asked for, twice; the message has the reply."""


class ToolError(CallError):
    """A tool of the user's raised."""


_ERRORS = (
    *(CallError, BudgetExceeded, ChildFailed, ChildRefused),
    *(PromptTooLong, SchemaError, ToolError),
)
for _kind in _ERRORS:
    _kind.__module__ = "__main__"  # where code knows it from, and so how tracebacks name it

NO_DESCRIPTORS = {
    "type": "OSError",
    "message": "the data cannot be opened: this process has no descriptor left; close some",
}
_KINDS: dict[str, type[Exception]] = {
    "OSError": OSError,
    "BudgetExceeded": BudgetExceeded,
    "ChildFailed": ChildFailed,
    "ChildRefused": ChildRefused,
    "WindowExceeded": PromptTooLong,
    "SchemaError": SchemaError,
    "ToolError": ToolError,
    "TypeError": TypeError,
    "ValueError": ValueError,
}


def error_from(frame: object) -> Exception:
    """The exception for the ``error`` of a reply frame: ``{"type": …, "message": …}``."""
    if not isinstance(frame, dict):
        return CallError("the host sent an error without a description")
    kind = _KINDS.get(str(frame.get("type")), CallError)
    error = kind(str(frame.get("message")))
    if isinstance(error, ChildFailed):
        details = frame.get("details") or {}
        error.draft, error.status = str(details.get("draft", "")), str(details.get("status", ""))
        error.cost = details.get("cost")
    return error


class Failed:
    """Stands where a batch has no answer: it says so when printed and raises when used."""

    __slots__ = ("error", "index")

    def __init__(self, index: int, error: Exception) -> None:
        self.index = index
        self.error = error

    def __repr__(self) -> str:
        return f"<sub-call {self.index} failed: {self.error}>"

    def _use(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise CallError(f"sub-call {self.index} of the batch failed: {self.error}")

    # Printing shows it (__str__ is __repr__); everything that would pass for an answer raises.
    __format__ = __len__ = __iter__ = __getitem__ = __contains__ = _use
    __add__ = __radd__ = __mod__ = __bool__ = __eq__ = __hash__ = _use
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = _use

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._use()


class Results(list[Any]):
    """The answers of a batch in the order of its prompts; :class:`Failed` where there is none."""

    @property
    def failed(self) -> list[int]:
        """Positions of the items that failed."""
        return [index for index, item in enumerate(self) if isinstance(item, Failed)]

    @classmethod
    def from_frames(cls, items: Iterable[Any]) -> Results:
        """From the host's list of ``{"value": …}`` and ``{"error": …}``."""
        return cls(item_from(index, item) for index, item in enumerate(items))


def joined(replies: Sequence[dict[str, Any]], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The items of a batch that was asked in pieces, so many in each, from its reply frames.

    Where a piece failed as a whole its items did, and the others are kept: they were paid for.
    Where all did, raises what the first of them came to.
    """
    if replies and all("error" in reply for reply in replies):
        raise error_from(replies[0]["error"])
    items: list[dict[str, Any]] = []
    for reply, size in zip(replies, sizes, strict=True):
        if "error" in reply:
            items += [{"error": reply["error"]}] * size
        else:
            items += reply["value"]
    return items


def item_from(index: int, item: dict[str, Any]) -> Any:
    """An item of a batch as code has it, from the host's ``{"value": …}`` or ``{"error": …}``."""
    if "error" in item:
        return Failed(index, error_from(item["error"]))
    return item.get("value")
