"""Abyme beside rlms, dspy and raw connections: ``python benchmarks/peers/run.py [--peer NAME]``.

The same workloads against the same model server in one run. The peers are installed from their
registries into ``.envs`` here on the first run; one that cannot be had is left out, and why is
said. Where dspy's default interpreter does not start (Deno fetches parts of it from the network)
its local one stands in, which holds nothing: the column is then called ``dspy local``. Each is as
it comes, but for a limit of 10 s on an attempt; a workload may take :data:`_SECONDS`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

if not __package__:  # run as a file: the folder above is where `benchmarks` is found
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import floor
from benchmarks.endpoint import ROOT, SUB_REPLY, Endpoint
from benchmarks.figures import Bench
from benchmarks.peers.environments import PEERS, Missing, deno, environment, python_of

_FOLDER = Path(__file__).parent / ".envs"
_RESULTS = Path(__file__).parents[1] / "results" / "latest.peers.json"
_SECONDS = 240
_PROMPT = "f'Part {number}: what does this paragraph say of boats? ' + 'The river ran on. ' * 20"
_SEQUENTIAL = f"""\
import time, json
took, right = [], 0
for number in range(100):
    began = time.perf_counter()
    right += llm_query({_PROMPT}) == {SUB_REPLY!r}
    took.append(time.perf_counter() - began)
told = json.dumps([sorted(took)[50], right])"""
_BATCHED = f"""\
import time, json
prompts = [{_PROMPT} for number in range(COUNT)]
began = time.perf_counter()
replies = llm_query_batched(prompts)
took = time.perf_counter() - began
right = sum(isinstance(reply, str) and reply == {SUB_REPLY!r} for reply in replies)
told = json.dumps([took, right])"""
_TURN = "found = len(context)\nprint(found)\ntold = '[0, 1]'"
_ENDS = {
    "abyme": "FINAL(told)",
    "rlms": "answer['content'] = told\nanswer['ready'] = True",
    "dspy": "SUBMIT(told)",
    "dspy local": "SUBMIT(told)",
}


class Work(NamedTuple):
    """One workload; ``whole``: what is timed is the run rather than what its cell times."""

    name: str
    code: str
    calls: int
    latency: float = 0.0
    faults: bool = False
    whole: bool = False
    times: int = 1


WORKS = (
    Work("a sequential sub-call", _SEQUENTIAL, 100),
    Work("200 calls of 100 ms", _BATCHED.replace("COUNT", "200"), 200, 0.1),
    Work("2,000 calls of 100 ms", _BATCHED.replace("COUNT", "2000"), 2000, 0.1),
    Work("two turns, warm", _TURN, 1, whole=True, times=6),
    Work("200 calls of 100 ms, with faults", _BATCHED.replace("COUNT", "200"), 200, 0.1, True),
)


class Result(NamedTuple):
    """Seconds, and how many answers were right; ``why`` where there is no result."""

    seconds: float = 0.0
    right: int = 0
    why: str = ""

    def shown(self, work: Work) -> str:
        """As a cell of the table."""
        if self.why:
            return self.why
        time = f"{self.seconds * 1e3:,.1f} ms" if self.seconds < 1 else f"{self.seconds:,.2f} s"
        return time if self.right == work.calls else f"{time} ({self.right:,} right)"


def reply(who: str, code: str) -> str:
    """A root's reply in the words that this engine reads."""
    if not who.startswith("dspy"):
        return f"```repl\n{code}\n```"
    return (
        "[[ ## reasoning ## ]]\nI run this.\n\n[[ ## code ## ]]\n"
        f"```python\n{code}\n```\n\n[[ ## completed ## ]]"
    )


def turns(who: str, work: Work) -> list[str]:
    """What the root says: one turn, or two where whole runs are timed.

    dspy puts the turns so far into one message, so its root says the same in both.
    """
    if work.whole and who.startswith("dspy"):
        first = work.code.replace("\n", "\n    ")
        return [reply(who, f"if 'told' in globals():\n    {_ENDS[who]}\nelse:\n    {first}")]
    if work.whole:
        return [reply(who, work.code), reply(who, _ENDS[who])]
    return [reply(who, f"{work.code}\n{_ENDS[who]}")]


def abyme(bench: Bench, work: Work) -> Result:
    """Its width is what it finds out, at an endpoint of which it knows nothing."""
    path = f"{work.name.replace(' ', '-')}/v1"
    rlm = bench.rlm(path=path, max_calls=10_000, call_seconds=20, max_seconds=_SECONDS)
    seconds, text = [], ""
    for _ in range(work.times):
        began = time.perf_counter()
        answer = rlm.completion("What do they say?", "a short text")
        seconds.append(time.perf_counter() - began)
        if answer.status != "complete":
            return Result(why=answer.reason)
        text = answer.text
    return judged(work, seconds, text)


def peer(name: str, bench: Bench, work: Work) -> Result:
    """In a process of its environment."""
    try:
        done = in_environment(name, [bench.endpoint.url, str(work.times)], bench.folder)
    except subprocess.TimeoutExpired:
        return Result(why=f"not in {_SECONDS} s")
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return Result(why="failed")
    said = json.loads(done.stdout.splitlines()[-1])
    return judged(work, said["seconds"], said["answer"])


def in_environment(name: str, given: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The script of a peer, with these arguments. Raises ``subprocess.TimeoutExpired``."""
    peer, *how = name.split()
    script = Path(__file__).parent / f"asked_{peer}.py"
    return subprocess.run(
        [str(python_of(peer, _FOLDER)), str(script), *given, *how],
        cwd=folder,
        env=environment(peer, _FOLDER),
        timeout=_SECONDS,
        capture_output=True,
        text=True,
    )


def installed(name: str, folder: Path) -> str:
    """The column of a peer that is there. Raises :class:`Missing`."""
    python_of(name, _FOLDER)
    if name != "dspy":
        return name
    try:
        deno(_FOLDER)
        probe = in_environment(name, ["probe", "0"], folder)
        if probe.returncode == 0:
            return name
        lines = [line for line in probe.stderr.splitlines() if line.strip()]
        why = next((line for line in lines if "Import" in line), lines[-1] if lines else "no word")
    except Missing as error:
        why = str(error)
    except subprocess.TimeoutExpired:
        why = f"Deno did not start in {_SECONDS} s"
    print(f"dspy runs code in its local interpreter, which holds nothing: {why}", file=sys.stderr)
    return "dspy local"


def judged(work: Work, seconds: list[float], text: str) -> Result:
    """What the run itself told; where runs are timed, the first of them was to warm up."""
    try:
        took, right = json.loads(text)
    except ValueError:
        print(f"{work.name}: the answer is {text[:500]!r}", file=sys.stderr)
        return Result(why="no answer")
    return Result(median(seconds[1:]) if work.whole else took, right)


def raw(bench: Bench, work: Work) -> Result:
    """The requests that came last on raw connections: as many as calls, 500 at most."""
    arrivals = bench.endpoint.take()
    bodies = [each.body for each in arrivals if work.whole == (each.model == ROOT)]
    bench.endpoint.play(turns("abyme", work), sub_latency=work.latency)
    began = time.perf_counter()
    if work.latency:
        asyncio.run(floor.at_once(bench.endpoint.port, bodies, min(len(bodies), 500)))
        return Result(time.perf_counter() - began, work.calls)
    took = asyncio.run(floor.in_turn(bench.endpoint.port, bodies))
    return Result(sum(took[:2]) if work.whole else median(took), work.calls)


def measure(bench: Bench, who: list[str]) -> list[tuple[str, dict[str, Result]]]:
    """Every workload by everybody, one after the other."""
    rows = []
    for work in WORKS:
        results = {"abyme": Result()}
        for name in ("abyme", *who):
            bench.endpoint.play(turns(name, work), sub_latency=work.latency, faults=work.faults)
            if name != "abyme":
                results[name] = peer(name, bench, work)
            else:
                results[name] = abyme(bench, work)
                if not work.faults:  # the floor tries nothing again
                    results["floor"] = raw(bench, work)
            print(f"{work.name}, {name}: {results[name].shown(work)}", file=sys.stderr)
        rows.append((work.name, results))
    return rows


def main() -> None:
    """Install what is missing, measure, print one table, keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peer", choices=PEERS, action="append", help="only this one")
    names, who = parser.parse_args().peer or PEERS, []
    with tempfile.TemporaryDirectory() as folder, Endpoint() as endpoint:
        for name in names:
            try:
                who.append(installed(name, Path(folder)))
            except Missing as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
        rows = measure(Bench(endpoint, Path(folder), quick=False), who)
    print(table(rows, ["floor", "abyme", *who]))
    _RESULTS.parent.mkdir(exist_ok=True)
    kept = {name: {k: r._asdict() for k, r in results.items()} for name, results in rows}
    _RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def table(rows: list[tuple[str, dict[str, Result]]], columns: list[str]) -> str:
    """The results, aligned."""
    works = {work.name: work for work in WORKS}
    lines = [["", *columns]]
    for name, results in rows:
        shown = [results[c].shown(works[name]) if c in results else "" for c in columns]
        lines.append([name, *shown])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


if __name__ == "__main__":
    main()
