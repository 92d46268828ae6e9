"""All figures: ``python benchmarks/run.py [--only NAME] [--quick]``.

Each figure is measured beside its floor in the same run, in turns, and shown as a median; ratios
and differences can be compared between machines, times cannot. Nothing here fails for being slow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

if not __package__:  # run as a file: the folder above is where `benchmarks` is found
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from abyme import __version__
from benchmarks.again import again
from benchmarks.calls import batch, sequential
from benchmarks.cancelling import cancelling
from benchmarks.checkpoints import checkpoints
from benchmarks.children import children
from benchmarks.command import commands
from benchmarks.data import data
from benchmarks.endpoint import Endpoint
from benchmarks.fifty import fifty
from benchmarks.figures import Bench, Row, table
from benchmarks.frames import frames
from benchmarks.index import index
from benchmarks.journal import journal
from benchmarks.large import large
from benchmarks.parts import parts
from benchmarks.sandbox import sandbox
from benchmarks.start import start
from benchmarks.text import text
from benchmarks.turns import turns
from benchmarks.wide import long, wide

RESULTS = Path(__file__).parent / "results" / "latest.json"

ALL: dict[str, Callable[[Bench], list[Row]]] = {
    "start": start,
    "turns": turns,
    "sequential": sequential,
    "batch": batch,
    "wide": wide,
    "long": long,
    "children": children,
    "cancelling": cancelling,
    "fifty": fifty,
    "large": large,
    "data": data,
    "sandbox": sandbox,
    "commands": commands,
    "parts": parts,
    "frames": frames,
    "checkpoints": checkpoints,
    "text": text,
    "index": index,
    "journal": journal,
    "again": again,
}


def main() -> None:
    """Measure what was asked for, print one table, keep it beside this file."""
    parser = argparse.ArgumentParser(description="Measure abyme beside a floor of raw sockets.")
    parser.add_argument("--only", choices=ALL, action="append", help="may be given several times")
    parser.add_argument("--quick", action="store_true", help="a third of the repetitions")
    arguments = parser.parse_args()
    rows: list[Row] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder, Endpoint() as endpoint:
        bench = Bench(endpoint, Path(folder), arguments.quick)
        for name in arguments.only or ALL:
            began = time.monotonic()
            try:
                rows += ALL[name](bench)
            except Exception:  # the others are measured all the same
                failed.append(name)
                traceback.print_exc()
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(table(rows))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; nothing is kept in {RESULTS.parent}")
    if not arguments.only:
        save(rows, quick=arguments.quick)


def save(rows: Sequence[Row], *, quick: bool) -> None:
    """Write the results with what they depend on; in seconds and bytes."""
    RESULTS.parent.mkdir(exist_ok=True)
    machine = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    results = {
        "abyme": __version__,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "machine": machine,
        "rows": [{**asdict(row), "value": row.value, "verdict": row.verdict} for row in rows],
    }
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    about = ", ".join(f"{name} {value}" for name, value in machine.items())
    text = f"abyme {__version__}, {results['at']}; {about}\n\n{table(rows)}\n"
    RESULTS.with_suffix(".txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
