"""What is shown of the results: medians and spreads by label, as tables and as charts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.async_depth.charts import Axis, Chart, Point, Series
from benchmarks.async_depth.parts import AT_ONCE, BRANCHINGS, DEEPEST, EQUAL, WAYS
from benchmarks.async_depth.sized import PHASES
from benchmarks.async_depth.trial import Trial, labelled

Trials = Sequence[Trial]
Value = Callable[[Trial], float]
HOSTED, UNEVEN = "hosted, no limit met", "hosted, uneven"
WIDTHS = {AT_ONCE: "fixed 16", 64: "fixed 64", 0: "adaptive"}


def seconds(trial: Trial) -> float:
    """Of the simulated world."""
    return trial.seconds


def dollars(trial: Trial) -> float:
    """By the stub's own bill and the published price."""
    return trial.outcome.bill.dollars


def dollars_cached(trial: Trial) -> float:
    """The same where the provider's cache works as well as it can."""
    return trial.outcome.bill.dollars_cached


def calls_a_second(trial: Trial) -> float:
    """Sub-calls, over the whole of the run."""
    return trial.outcome.bill.leaves / trial.seconds


def of(trials: Trials, **labels: Any) -> list[Trial]:
    """Those with these labels."""
    return [trial for trial in trials if labelled(trial, labels)]


def seen(trials: Trials, label: str) -> list[Any]:
    """The values of a label, in the order of the study."""
    return list(dict.fromkeys(trial.plan.labels[label] for trial in trials))


def point(x: float, trials: Trials, value: Value) -> Iterator[Point]:
    """The median and spread of ``value``; nothing where there are no trials."""
    values = [value(trial) for trial in trials]
    if values:
        yield Point(x, median(values), min(values), max(values))


def spread(trials: Trials, value: Value = seconds, form: str = ",.0f") -> str:
    """``median (least–most)`` for a table."""
    values = [value(trial) for trial in trials]
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def middle(trials: Trials, value: Value, form: str) -> str:
    """The median for a table."""
    return f"{median(map(value, trials)):{form}}" if trials else "–"


def wrong(trials: Trials) -> str:
    """How many runs did not give the right answer, of how many."""
    return f"{sum(not trial.outcome.right for trial in trials)} of {len(trials)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first column is words, the others are figures."""
    rule = ["---", *("--:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


# -- one table for each part ---------------------------------------------------------------------


def scales(trials: Trials) -> str:
    """The same work at several scales."""
    rows = []
    for count, width in dict.fromkeys(
        (t.plan.labels["calls"], t.plan.labels["width"]) for t in trials
    ):
        chosen = of(trials, calls=count, width=width)
        by_scale = {trial.plan.scale: None for trial in chosen}
        cells = [spread([t for t in chosen if t.plan.scale == each]) for each in by_scale]
        rows.append([f"{count:,} calls, {WIDTHS[width]}", *cells])
    head = ["seconds of the world at a scale of", *(f"1/{s:g}" for s in by_scale)]
    return table(head, rows)


def ways(trials: Trials) -> str:
    """Each way of asking, by the number of calls."""
    cases = [(HOSTED, count) for count in seen(of(trials, endpoint=HOSTED), "calls")]
    cases += [(UNEVEN, count) for count in seen(of(trials, endpoint=UNEVEN), "calls")]
    rows = []
    for way in WAYS:
        chosen = [of(trials, way=way, endpoint=name, calls=count) for name, count in cases]
        every = of(trials, way=way)
        rate = middle(of(trials, way=way, calls=cases[-1][1]), calls_a_second, ".2f")
        rows.append([way, *(spread(each) for each in chosen), rate, wrong(every)])
    named = [f"{n} calls{', σ 0.5' if e == UNEVEN else ''}: s" for e, n in cases]
    return table(["way", *named, "calls/s at the last", "not right"], rows)


def widths(trials: Trials) -> str:
    """Each endpoint by width: seconds, throughput, refusals, cost."""
    rows = []
    for endpoint in seen(trials, "endpoint"):
        for width, name in WIDTHS.items():
            chosen = of(trials, endpoint=endpoint, width=width)
            rows.append(
                [
                    f"{endpoint}, {seen(chosen, 'calls')[0]} calls: {name}",
                    spread(chosen),
                    middle(chosen, calls_a_second, ".1f"),
                    middle(chosen, lambda t: t.outcome.bill.most_at_once, ".0f"),
                    middle(chosen, lambda t: t.outcome.bill.refused, ".0f"),
                    middle(chosen, lambda t: t.outcome.bill.failed, ".0f"),
                    wrong(chosen),
                ]
            )
    head = ["endpoint: width", "seconds", "calls/s", "most at once", "429", "5xx", "not right"]
    return table(head, rows)


def depths(trials: Trials) -> str:
    """Seconds and dollars of all trees, by branching and depth."""
    rows = []
    for branching in BRANCHINGS:
        row = [str(branching)]
        for depth in range(1, DEEPEST + 1):
            chosen = of(trials, depth=depth, branching=branching)
            usd = middle(chosen, dollars, ",.4f")
            row.append(f"{middle(chosen, seconds, ',.0f')} s, ${usd}" if chosen else "–")
        rows.append(row)
    return table(["branching", *(f"depth {depth}" for depth in range(1, DEEPEST + 1))], rows)


def equal(trials: Trials) -> str:
    """Trees of equally many leaves."""
    rows = []
    for leaves, by_depth in EQUAL.items():
        for depth, branching in {0: leaves, **by_depth}.items():
            chosen = of(trials, depth=depth, branching=branching, leaves=leaves)
            children = sum(branching**level for level in range(1, depth))
            name = f"{leaves:,} parts, depth {depth}"
            name += f": {branching:,} wide" if depth else ": one prompt"
            if not chosen:
                rows.append([name, *(["does not fit the window"] if not depth else ["–"])])
                rows[-1] += ["–"] * 7
                continue
            rows.append(
                [
                    name,
                    spread(chosen),
                    f"{children:,}",
                    middle(chosen, lambda t: t.outcome.bill.replies, ",.0f"),
                    middle(chosen, lambda t: t.outcome.bill.read, ",.0f"),
                    spread(chosen, dollars, ",.3f"),
                    middle(chosen, dollars_cached, ",.3f"),
                    middle(chosen, lambda t: t.outcome.host_cpu, ",.1f"),
                    wrong(chosen),
                ]
            )
    head = ["tree", "seconds", "children", "replies", "tokens read", "US$", "US$, cached"]
    return table([*head, "CPU s of the host", "not right"], rows)


def sizes(trials: Trials) -> str:
    """Seconds of each phase and memory, by size. The machine's own seconds where nothing waits."""
    rows = []
    for size in seen(trials, "characters"):
        chosen = of(trials, characters=size)
        phase = [middle(chosen, phased(name), ",.3f") for name in PHASES[:2]]
        scaled = [middle(chosen, in_the_world(name), ",.0f") for name in PHASES[2:]]
        memory = [middle(chosen, megabytes(name), ",.0f") for name in ("host", "workers", "own")]
        first = middle(chosen, lambda t: t.outcome.extra["first_request"], ",.3f")
        usd = middle(chosen, dollars, ",.3f")
        rows.append([f"{size:,}", first, *phase, *scaled, *memory, usd, wrong(chosen)])
    head = ["characters", "to the first request: s", "`len`: s", "`grep`: s"]
    head += ["64 samples: s of the world", "16 children: s of the world"]
    return table(
        [*head, "host: MB", "workers: MB", "of that no file's: MB", "US$", "not right"], rows
    )


def phased(name: str) -> Value:
    """The machine's seconds in a phase."""
    return lambda trial: float(trial.outcome.extra["phases"][name])


def in_the_world(name: str) -> Value:
    """The simulated world's seconds in a phase."""
    return lambda trial: float(trial.outcome.extra["phases"][name]) * trial.plan.scale


def megabytes(name: str) -> Value:
    """Memory of host or workers."""
    return lambda trial: float(trial.outcome.extra["memory"][name]) / 1e6


# -- charts --------------------------------------------------------------------------------------


def chart_of_ways(trials: Trials) -> Chart:
    """Seconds by calls, a line for each way."""
    series = []
    for way in WAYS:
        chosen = of(trials, way=way, endpoint=HOSTED)
        counts = seen(chosen, "calls")
        points = [p for n in counts for p in point(n, of(chosen, calls=n), seconds)]
        series.append(Series(way, points))
    return Chart(
        title="Ways of asking, 16 at once, 10 s of computing in the next cell",
        x=Axis(label="sub-calls", log=True),
        y=Axis(label="seconds until the answer", log=True),
        series=series,
    )


def chart_of_widths(trials: Trials) -> Chart:
    """Throughput by endpoint, a sign for each width."""
    endpoints = seen(trials, "endpoint")
    series = []
    for width, name in WIDTHS.items():
        points = [
            p
            for index, endpoint in enumerate(endpoints)
            for p in point(index, of(trials, endpoint=endpoint, width=width), calls_a_second)
        ]
        series.append(Series(name, points))
    names = [name.replace(" refused at random", " 429s") for name in endpoints]
    names = [name.partition(",")[0] for name in names]
    return Chart(
        title="Sub-calls a second, by endpoint and width",
        x=Axis(label="endpoint", names=names),
        y=Axis(label="sub-calls a second", log=True),
        series=series,
        joined=False,
    )


def chart_of_depths(trials: Trials, value: Value, title: str, label: str) -> Chart:
    """By depth, a line for each branching."""
    series = []
    for branching in BRANCHINGS:
        chosen = [of(trials, depth=d, branching=branching) for d in range(1, 5)]
        points = [p for d, each in enumerate(chosen, 1) for p in point(d, each, value)]
        if points:
            series.append(Series(f"branching {branching}", points))
    return Chart(
        title=title,
        x=Axis(label="depth (1: sub-calls are plain; 2: children with sub-calls; …)"),
        y=Axis(label=label, log=True),
        series=series,
    )


def chart_of_equal(trials: Trials, value: Value, title: str, label: str) -> Chart:
    """By depth, a line for each number of leaves."""
    series = []
    for leaves, by_depth in EQUAL.items():
        points = [
            p
            for depth, branching in {0: leaves, **by_depth}.items()
            for p in point(
                depth, of(trials, depth=depth, branching=branching, leaves=leaves), value
            )
        ]
        if points:
            series.append(Series(f"{leaves:,} parts", points))
    return Chart(
        title=title,
        x=Axis(label="depth (0: one prompt holds all parts)"),
        y=Axis(label=label, log=True),
        series=series,
    )


def chart_of_sizes(trials: Trials) -> Chart:
    """The machine's seconds by size, a line for each phase that grows with it."""
    first: Value = lambda trial: float(trial.outcome.extra["first_request"])  # noqa: E731
    lines: dict[str, Value] = {
        "to the first request": first,
        "len(context)": phased("length"),
        "grep over all": phased("search"),
        "64 samples": phased("samples"),
        "16 children": phased("children"),
    }
    return _by_size(trials, lines, "Time by size of the data", "seconds of the machine")


def chart_of_memory(trials: Trials) -> Chart:
    """Memory by size."""
    lines = {
        "host": megabytes("host"),
        "workers": megabytes("workers"),
        "workers, no file's": megabytes("own"),
    }
    return _by_size(trials, lines, "Memory by size of the data (most at the end of a cell)", "MB")


def _by_size(trials: Trials, lines: dict[str, Value], title: str, unit: str) -> Chart:
    series = []
    for name, value in lines.items():
        sizes_ = seen(trials, "characters")
        points = [p for n in sizes_ for p in point(n, of(trials, characters=n), value)]
        series.append(Series(name, points))
    return Chart(
        title=title,
        x=Axis(label="characters of data", log=True),
        y=Axis(label=unit, log=True),
        series=series,
    )
