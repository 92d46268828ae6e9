"""What ``budget()`` gives: figures to count with, that print as few lines."""

from __future__ import annotations

from typing import Any


class Budget(dict[str, dict[str, Any]]):
    """A line for each kind: ``used``, ``reserved``, ``limit``, ``left``; None: no limit."""

    def __repr__(self) -> str:
        return "\n".join(_line(kind, figures) for kind, figures in self.items())

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))


def _line(kind: str, figures: dict[str, Any]) -> str:
    said = f"{kind}: {_number(kind, figures['used'])} used"
    if figures["reserved"]:
        said += f", {_number(kind, figures['reserved'])} in flight"
    if figures["limit"] is None and figures["left"] is None:
        return f"{said}, no limit"
    said += f", {_number(kind, figures['left'])} left"
    if figures["limit"] is not None:
        said += f" of {_number(kind, figures['limit'])}"
    return said


def _number(kind: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"${value:,.4f}" if kind == "cost" else f"{value:,.0f}"
