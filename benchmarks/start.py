"""From the start of a process to its first request, on 5 MB of text; and what help costs.

Python's compiled modules are kept in a folder of the benchmark's own, filled before anything is
counted: what the first run after an installation compiles is no part of the figure, and whether the
environment forbids writing them (``PYTHONDONTWRITEBYTECODE``) does not matter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.endpoint import Arrival, Endpoint
from benchmarks.figures import Bench, Row, alternate, cell

_COMMAND = ["-m", "abyme"]
_SCRIPTS = Path(__file__).parent / "scripts"


def start(bench: Bench) -> list[Row]:
    """Fresh interpreters: one asks through the library, one with sockets alone."""
    endpoint, data = bench.endpoint, bench.text(5)
    body = bench.folder / "first-request.json"
    ask = [str(_SCRIPTS / "ask.py"), endpoint.url, str(data), str(bench.folder / "runs")]
    raw = [str(_SCRIPTS / "raw.py"), str(endpoint.port), str(data), str(body)]

    command = [*_COMMAND, "ask", "Who slept?", str(data), "--model", "root"]
    command += ["--base-url", endpoint.url, "--runs", str(bench.folder / "runs")]

    environment = _environment(bench.folder)
    _, request = _until_first_request(endpoint, ask, environment)
    body.write_text(json.dumps(request.body), encoding="utf-8")

    def seconds(script: list[str]) -> float:
        return _until_first_request(endpoint, script, environment)[0]

    ours, floor = alternate(bench.rounds(15), partial(seconds, ask), partial(seconds, raw))
    typed, again = alternate(bench.rounds(15), partial(seconds, command), partial(seconds, raw))
    floor_note = (
        "floor: a fresh python imports asyncio and json, reads the file, connects, sends the same "
        "body"
    )
    return [
        Row(
            "process start → first request, 5 MB",
            median(ours),
            median(floor),
            compared="ratio",
            target=5,
            note=floor_note,
        ),
        Row(
            "  the same by `abyme ask`",
            median(typed),
            median(again),
            compared="ratio",
            target=6.5,
            note="the same floor",
        ),
        _help(bench, environment),
    ]


def _help(bench: Bench, environment: dict[str, str]) -> Row:
    ours, floor = alternate(
        bench.rounds(11),
        partial(_cpu_seconds, [*_COMMAND, "--help"], environment),
        partial(_cpu_seconds, ["-c", "pass"], environment),
    )
    return Row(
        "CPU time of `abyme --help`",
        median(ours),
        median(floor),
        target=0.150,
        note="user and system time together; floor: a python that does nothing",
    )


def _cpu_seconds(script: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(
        [sys.executable, *script], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    return used.ru_utime + used.ru_stime


def _until_first_request(
    endpoint: Endpoint, script: list[str], environment: dict[str, str]
) -> tuple[float, Arrival]:
    """Seconds from before the process is made to the arrival of its first request, and that."""
    endpoint.play([cell('FINAL("done")')])
    began = time.monotonic()
    subprocess.run(
        [sys.executable, *script],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    arrival = endpoint.take()[0]
    return arrival.at - began, arrival


def _environment(folder: Path) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    settings = folder / "abyme.toml"
    settings.touch()
    environment["ABYME_CONFIG"] = str(settings)
    return environment
