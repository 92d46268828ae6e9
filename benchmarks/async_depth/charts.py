"""Charts as SVG, written by hand: points joined by lines, with the spread of each point.

Opaque, so that a page's own background, light or dark, does not matter. Series differ by colour,
by marker and by dash; the colours are those of Okabe and Ito, which the colour-blind can tell
apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

import msgspec

WIDTH, HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 190, 56, 62
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2")
_INK, _FAINT, _PAPER = "#1b1f24", "#d0d7de", "#ffffff"


class Point(msgspec.Struct, frozen=True):
    """``x``; the median ``y`` and the least and most of what was seen."""

    x: float
    y: float
    least: float
    most: float


class Series(msgspec.Struct, frozen=True):
    """A line with its name."""

    name: str
    points: Sequence[Point]


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """``label`` has the unit. ``names``: what stands at 0, 1, 2 … instead of numbers."""

    label: str
    log: bool = False
    names: Sequence[str] = ()


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """``joined``: a line between the points of a series means something."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    joined: bool = True

    def svg(self) -> str:
        """The file's text."""
        points = [point for series in self.series for point in series.points]
        across = _scale(self.x, [p.x for p in points], (_LEFT, WIDTH - _RIGHT), room=not self.x.log)
        values = [each for p in points for each in (p.least, p.most)]
        up = _scale(self.y, values if self.y.log else [0.0, *values], (HEIGHT - _BOTTOM, _TOP))
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif" '
            f'font-size="13" fill="{_INK}">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{_PAPER}"/>',
            text(_LEFT, 24, self.title, size=15, weight="bold"),
            text(_LEFT, 43, "simulation; median, least and most over the seeds", size=11),
            *self._grid(across, up),
        ]
        for number, series in enumerate(self.series):
            parts += self._line(number, series, across, up)
            parts += _legend(number, series.name, joined=self.joined)
        return "\n".join([*parts, "</svg>", ""])

    def _grid(self, across: _Scale, up: _Scale) -> Iterator[str]:
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        for value, name in up.ticks:
            y = up.place(value)
            yield line(_LEFT, y, right, y, colour=_FAINT)
            yield text(_LEFT - 8, y + 4, name, anchor="end", size=12)
        for value, name in across.ticks:
            x = across.place(value)
            yield line(x, bottom, x, bottom + 5)
            yield text(x, bottom + 19, name, anchor="middle", size=12)
        yield line(_LEFT, bottom, right, bottom)
        yield line(_LEFT, _TOP, _LEFT, bottom)
        yield text((_LEFT + right) / 2, HEIGHT - 14, self.x.label, anchor="middle")
        middle = (_TOP + bottom) / 2
        yield (
            f'<text transform="translate(18 {middle:.1f}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text>"
        )

    def _line(self, number: int, series: Series, across: _Scale, up: _Scale) -> Iterator[str]:
        colour, dash = _COLOURS[number % 6], _DASHES[number % 6]
        shift = 0.0 if self.joined else 11.0 * (number - (len(self.series) - 1) / 2)
        places = [(across.place(p.x) + shift, up.place(p.y), p) for p in series.points]
        if self.joined:
            drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
            yield (
                f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2" '
                f'stroke-dasharray="{dash}"/>'
            )
        for x, y, point in places:
            yield line(x, up.place(point.least), x, up.place(point.most), colour=colour, width=1.5)
            yield marker(number, x, y, colour)


class _Scale(msgspec.Struct, frozen=True):
    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def _scale(
    axis: Axis, values: Sequence[float], ends: tuple[float, float], *, room: bool = False
) -> _Scale:
    """Where a value stands between two ends, and which values are named."""
    if axis.log:
        values = [max(value, 1e-9) for value in values]
        low, high = math.log10(min(values)), math.log10(max(values))
        low, high = low - 0.06, high + 0.06
        ticks = _log_ticks(low, high)
    elif axis.names:
        low, high = -0.5, len(axis.names) - 0.5
        ticks = [(float(index), name) for index, name in enumerate(axis.names)]
    else:
        low, high = min(values), max(values)
        margin = 0.06 * (high - low or 1.0)
        low, high = low - (margin if room else 0.0), high + margin
        ticks = _linear_ticks(low, high)

    def place(value: float) -> float:
        at = math.log10(max(value, 1e-9)) if axis.log else value
        return ends[0] + (at - low) / (high - low) * (ends[1] - ends[0])

    return _Scale(place, ticks)


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    steps = (1,) if high - low > 3 else (1, 2, 5) if high - low > 0.7 else (1, 1.5, 2, 3, 5, 7)
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [(tick, short(tick)) for tick in ticks if low <= math.log10(tick) <= high]


def _linear_ticks(low: float, high: float) -> list[tuple[float, str]]:
    rough = (high - low) / 5
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(step * decade for step in (1, 2, 5, 10) if step * decade >= rough)
    first = math.ceil(low / step)
    ticks = [number * step for number in range(first, math.floor(high / step) + 1)]
    return [(tick, short(tick)) for tick in ticks]


def short(value: float) -> str:
    """A number as an axis names it."""
    if value >= 1e5:
        power = math.log10(value)
        if power == round(power):
            return "10" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(round(power)))
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.3g}"


def marker(number: int, x: float, y: float, colour: str) -> str:
    """A series' own sign."""
    if number % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
    if number % 3 == 1:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
    corners = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y + 4:.1f} {x - 5:.1f},{y + 4:.1f}"
    return f'<polygon points="{corners}" fill="{colour}"/>'


def line(
    x1: float, y1: float, x2: float, y2: float, *, colour: str = _INK, width: float = 1
) -> str:
    """A straight one."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def text(
    x: float, y: float, said: str, *, anchor: str = "start", size: int = 13, weight: str = "normal"
) -> str:
    """Words at a place."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}">{escape(said)}</text>'
    )


def _legend(number: int, name: str, *, joined: bool) -> Iterator[str]:
    x, y = WIDTH - _RIGHT + 16, _TOP + 10 + 22 * number
    colour, dash = _COLOURS[number % 6], _DASHES[number % 6]
    if joined:
        yield (
            f'<line x1="{x}" y1="{y}" x2="{x + 28}" y2="{y}" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
        )
    yield marker(number, x + 14, y, colour)
    yield text(x + 36, y + 4, name, size=12)
