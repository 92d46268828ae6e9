"""A tree at work that is interrupted: until its calls are closed and its workers are gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from statistics import median

from abyme.events import CallEnded, CallStarted, Event
from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.processes import started_by

_CHILDREN, _CALLS = 40, 3
_LATENCY = 3.0
"""Seconds after which a sub-call would be answered: long after all of them are cancelled."""
_QUESTION = "What do the boats carry?"
_PARENT = cell(f"rlm_query_batched({_QUESTION!r}, [str(n) for n in range({_CHILDREN})])")
_CHILD = cell(f"llm_query_batched([str(n) for n in range({_CALLS})])")
_ZYGOTES = 1
"""What is kept warm for the next run."""
_UNDER_WAY = 1 + _CHILDREN + _CHILDREN * _CALLS


def cancelling(bench: Bench) -> list[Row]:
    """The root and forty children, each with three calls in flight; none is left afterwards."""
    ours, raw = alternate(bench.rounds(9), lambda: _ours(bench), lambda: _floor(bench))
    return [
        Row(
            f"a tree of {1 + _CHILDREN} nodes and {_CHILDREN * _CALLS} calls, interrupted",
            median(ours),
            median(raw),
            target=0.1,
            note="until the answer is there, every call is closed and no worker is left; floor: as "
            "many bare Python processes killed and waited for, as many connections closed",
        )
    ]


def _ours(bench: Bench) -> float:
    endpoint = bench.endpoint
    endpoint.play(
        [_PARENT], sub_latency=_LATENCY, children=(_QUESTION, [_CHILD]), child_latency=0.0
    )
    rlm = bench.rlm(max_depth=2, max_calls=10_000, max_width=512)
    started = ended = 0
    all_started = threading.Event()

    def listen(event: Event) -> None:
        nonlocal started, ended
        started += isinstance(event, CallStarted)
        ended += isinstance(event, CallEnded)
        if started == _UNDER_WAY:
            all_started.set()

    handle = rlm.start("What do they say?", "boats", listen)
    assert all_started.wait(60), f"{started} calls of {_UNDER_WAY} were begun in a minute"
    time.sleep(0.3)  # they are told before they go out
    began = time.perf_counter()
    handle.interrupt()
    answer = handle.future.result()
    took = time.perf_counter() - began
    assert (answer.status, answer.reason) == ("partial", "interrupted"), answer.reason
    assert ended == _UNDER_WAY, f"{_UNDER_WAY - ended} calls are not over"
    left = len(list(started_by(os.getpid(), but=endpoint.pid)))
    assert left <= _ZYGOTES, f"{left} processes are left"
    return took


def _floor(bench: Bench) -> float:
    waiting = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
    processes = [subprocess.Popen(waiting, stdin=subprocess.PIPE) for _ in range(1 + _CHILDREN)]
    address = ("127.0.0.1", bench.endpoint.port)
    connections = [socket.create_connection(address) for _ in range(_CHILDREN * _CALLS)]
    time.sleep(0.5)  # until they wait
    began = time.perf_counter()
    for connection in connections:
        connection.close()
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
    took = time.perf_counter() - began
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    return took
