"""How well the reader finds: ``python benchmarks/reader/run.py [--fetch] [--only PART]``.

Every question of the ``*.toml`` files beside this one is asked of the whole engine with the model
``reader``, and of plain BM25 over windows as long as the longest passage that counts: README.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: the folder two above is where `benchmarks` is found
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from abyme import RLM
from benchmarks.reader.bm25 import Plain
from benchmarks.reader.corpora import HOW_TO_FETCH, PACKAGE, corpora, fetch
from benchmarks.reader.large import large
from benchmarks.reader.questions import LONGEST_PASSAGE, Question, load, without_gold

_FOLDER = Path(__file__).parent
_SHOWN = 3


@dataclass(frozen=True)
class Asked:
    """The place of the first hit (0: none) among the reader's passages and among BM25's."""

    question: Question
    reader: int
    plain: int
    seconds: float


def main() -> int:
    """Ask, print the tables; 1 where a gold string is not in its corpus."""
    arguments = _arguments()
    if arguments.fetch:
        fetch()
    found = corpora()
    if PACKAGE not in found:
        print(HOW_TO_FETCH, file=sys.stderr)
    files = arguments.questions or sorted(_FOLDER.glob("*.toml"))
    asked = [each for path in files for each in load(path) if each.corpus in found]
    asked = [each for each in asked if arguments.corpus in (None, each.corpus)]
    wrong = False
    for name, texts in found.items():
        for gold in without_gold([each for each in asked if each.corpus == name], texts):
            print(f"not in {name}: {gold}", file=sys.stderr)
            wrong = True
    if arguments.check:
        print(f"{len(asked)} questions checked")
        return int(wrong)
    if arguments.only in (None, "questions"):
        results = _ask(asked, found, arguments.jobs)
        print(table(results))
        if arguments.misses:
            print(misses(results))
    if arguments.only in (None, "large"):
        print(large())
    return int(wrong)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what the built-in reader finds.")
    parser.add_argument("questions", nargs="*", type=Path, help="files of questions (all beside)")
    parser.add_argument("--only", choices=("questions", "large"))
    parser.add_argument("--corpus", help="only the questions over this corpus")
    parser.add_argument("--fetch", action="store_true", help=f"first get {PACKAGE} with apt-get")
    parser.add_argument("--check", action="store_true", help="only check the gold strings")
    parser.add_argument("--misses", action="store_true", help="list the questions without hit@1")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once (2)")
    return parser.parse_args()


def _ask(questions: Sequence[Question], found: dict[str, list[Path]], jobs: int) -> list[Asked]:
    results = []
    with tempfile.TemporaryDirectory() as runs, ThreadPoolExecutor(jobs) as pool:
        rlm = RLM("reader", runs=runs)
        for name, texts in found.items():
            of_this = [each for each in questions if each.corpus == name]

            def ask(question: Question, texts: list[Path] = texts) -> tuple[list[str], float]:
                began = time.monotonic()
                answer = rlm.completion(question.ask, texts)
                quotes = [quote.text for quote in answer.quotes if quote.verified]
                return quotes[:_SHOWN], time.monotonic() - began

            plain = Plain(texts, [each.ask for each in of_this], LONGEST_PASSAGE)
            for each, (quotes, seconds) in zip(of_this, pool.map(ask, of_this), strict=True):
                windows = plain.best(each.ask, _SHOWN)
                results.append(Asked(each, each.rank(quotes), each.rank(windows), seconds))
    return results


def table(results: Sequence[Asked]) -> str:
    """Hits by set and kind, with the ratio of the reader's to plain BM25's."""
    head = f"{'set':<12}{'kind':<10}{'n':>4}{'hit@1':>14}{'hit@3':>8}{'BM25 @1':>14}{'@3':>8}"
    rows = [f"{head}{'ratio @1':>12}{'@3':>8}"]
    groups = dict.fromkeys((each.question.set, each.question.kind) for each in results)
    for name, kind in groups:
        group = [
            each for each in results if (each.question.set, each.question.kind) == (name, kind)
        ]
        row = f"{name:<12}{kind:<10}{len(group):>4}"
        ours = [sum(0 < each.reader <= k for each in group) for k in (1, _SHOWN)]
        theirs = [sum(0 < each.plain <= k for each in group) for k in (1, _SHOWN)]
        shares = [f"{hits / len(group):.0%}" for hits in (*ours, *theirs)]
        ratios = [f"{a / b:.2f} ×" if b else "–" for a, b in zip(ours, theirs, strict=True)]
        row += f"{shares[0]:>14}{shares[1]:>8}{shares[2]:>14}{shares[3]:>8}"
        rows.append(f"{row}{ratios[0]:>12}{ratios[1]:>8}")
    longest = max((each.seconds for each in results), default=0.0)
    return "\n".join([*rows, f"the slowest run took {longest:.1f} s"])


def misses(results: Sequence[Asked]) -> str:
    """The questions whose first passage is no hit: the place of the reader's hit, and BM25's."""
    rows = [
        f"{each.reader or '–':>3}{each.plain or '–':>3}  {each.question.kind:<8} "
        f"{each.question.corpus:<8} {each.question.ask}"
        for each in results
        if each.reader != 1
    ]
    return "\n".join(["", "no hit at 1 (reader, BM25):", *rows])


if __name__ == "__main__":
    sys.exit(main())
