"""Writes the charts beside the results, and the tables into the page, between their markers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.async_depth import figures
from benchmarks.async_depth.charts import Chart
from benchmarks.async_depth.parts import PARTS
from benchmarks.async_depth.published import SOURCES
from benchmarks.async_depth.results import Made, Results

Trials = figures.Trials

TABLES: dict[str, tuple[str, Callable[[Trials], str]]] = {
    "scales": ("scales", figures.scales),
    "ways": ("ways", figures.ways),
    "widths": ("widths", figures.widths),
    "depths": ("depths", figures.depths),
    "equal": ("depths", figures.equal),
    "sizes": ("sizes", figures.sizes),
}
"""By marker: the part, and what makes the table."""

CHARTS: dict[str, tuple[str, Callable[[Trials], Chart]]] = {
    "ways": ("ways", figures.chart_of_ways),
    "widths": ("widths", figures.chart_of_widths),
    "depths": (
        "depths",
        lambda trials: figures.chart_of_depths(
            trials, figures.seconds, "Time of a tree", "seconds until the answer"
        ),
    ),
    "equal-time": (
        "depths",
        lambda trials: figures.chart_of_equal(
            trials, figures.seconds, "Time of equal work, by depth", "seconds until the answer"
        ),
    ),
    "equal-cost": (
        "depths",
        lambda trials: figures.chart_of_equal(
            trials, figures.dollars, "Cost of equal work, by depth", "US$ (published price)"
        ),
    ),
    "sizes": ("sizes", figures.chart_of_sizes),
    "memory": ("sizes", figures.chart_of_memory),
}
"""By file name: the part, and what makes the chart."""


def write(folder: Path, page: Path) -> None:
    """Draw what there are results for, and renew the page's tables; a new page has these alone."""
    parts = {name: Results(folder, name) for name in PARTS}
    for name, (part, draw) in CHARTS.items():
        if parts[part].trials:
            (folder / f"{name}.svg").write_text(draw(parts[part].trials).svg(), encoding="utf-8")
    blocks = dict(_blocks(parts))
    if page.exists():
        text = page.read_text(encoding="utf-8")
    else:
        text = "\n\n".join(f"<!-- {marker} -->\n<!-- /{marker} -->" for marker in blocks) + "\n"
    for marker, block in blocks.items():
        text = renewed(text, marker, block)
    page.write_text(text, encoding="utf-8")


def renewed(text: str, marker: str, block: str) -> str:
    """``text`` with ``block`` between its two comments of this name."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
    return pattern.sub(lambda _: f"{begin}\n{block}\n{end}", text)


def _blocks(parts: dict[str, Results]) -> Iterator[tuple[str, str]]:
    for marker, (part, make) in TABLES.items():
        if parts[part].trials:
            yield marker, make(parts[part].trials)
    yield "sources", "\n".join(f"- [{each.name}]({each.url}): {each.taken}" for each in SOURCES)
    made = [results.made for results in parts.values() if results.made is not None]
    if made:
        yield "made", _made(made, sum(len(results.trials) for results in parts.values()))


def _made(made: list[Made], trials: int) -> str:
    last = max(made, key=lambda each: each.at)
    loads = f"{min(each.load for each in made)} to {max(each.load for each in made)}"
    return (
        f"{trials} trials, Abyme {last.abyme}, {last.at[:10]}, Python {last.python}, "
        f"{last.cores} cores shared with other work (load {loads})."
    )
