"""Whether a run's folder is as it was written: every line, every text, every copy, every quote."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from abyme.errors import JournalError
from abyme.events import RunEnded, RunForked, RunStarted
from abyme.journal.blobs import content_hash
from abyme.journal.evidence import Evidence, file_hash
from abyme.journal.files import open_regular
from abyme.journal.format import (
    BLOB,
    BLOBS,
    CHECKPOINTS,
    COMPRESSED,
    DATA,
    FIRST_PREV,
    JOURNAL,
    blob_references,
    is_digest,
    line_hash,
)
from abyme.journal.reader import Decoder, lines_of, parse

_FRESH_SECONDS = 60.0
"""A file half written that is older was left by a process that ended."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    ``problems``: what was changed, damaged or removed since the run wrote it, one line each.
    ``notes``: what could not be checked, and what does no harm. ``compared``: what the given hash
    is: that of the last line, of an earlier one (``compared_line``, counted from 1: the journal
    went on after it), or of none; empty where none was given.
    """

    run: str
    folder: str
    format: int
    redacted: bool
    head: str
    """The hash of the last line."""
    lines: int
    texts: int
    """Blobs that lines name."""
    documents: int
    hashed: int
    """Of them, those whose bytes were read and have the hash they had."""
    quotes: int
    """Quotes of answers whose bytes stand in the data where they were found."""
    compared: Literal["", "same", "earlier", "different"] = ""
    compared_line: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing was changed, as far as can be seen."""
        return not self.problems and self.compared != "different"


def verify(folder: Path, head: str | None = None, data: bool = False) -> Verification:
    """Check the run in ``folder``; ``head``: the hash that its last line, or an earlier one, had.

    Documents that were read in their own place are checked by size, time and inode, and by their
    hash where these differ; by their hash in any case with ``data``. Only ``head`` can say that the
    last line was not changed: no line after it names its hash. Raises :class:`JournalError` where
    there is no journal to read.
    """
    return _Check(folder).result(head, data)


class _Check:
    """One verification of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._problems: dict[str, None] = {}
        self._notes: dict[str, None] = {}
        self._evidence = Evidence(folder, self._problem, self._note)
        self._started: RunStarted | None = None
        self._ended = True
        self._run = folder.name
        self._texts: set[str] = set()
        self._decoder = Decoder(folder)
        self._hashes: list[str] = []

    def result(self, head: str | None, data: bool) -> Verification:
        for number, (line, raw) in enumerate(self._chain()):
            self._hashes.append(line_hash(line))
            if raw is not None:
                self._event(raw, number)
        if not self._hashes:
            self._problem(f"{JOURNAL} has no whole line")
        self._files()
        if not self._ended:
            self._note(
                "it ends without an answer: it was killed, still goes, or its end was taken away; "
                "only --head can tell"
            )
        redacted = self._started is not None and self._started.redacted
        if redacted:
            self._note("it was kept without texts: its data and quotes cannot be checked")
            for kept in (DATA, CHECKPOINTS):
                if (self._folder / kept).exists():
                    self._note(f"its folder {kept} is none of its own: such runs keep no copies")
        else:
            self._evidence.check(data=data)
        compared, compared_line = self._compare(head)
        return Verification(
            run=self._run,
            folder=str(self._folder),
            format=0 if self._started is None else self._started.format,
            redacted=redacted,
            head=self._hashes[-1] if self._hashes else FIRST_PREV,
            lines=len(self._hashes),
            texts=len(self._texts),
            documents=self._evidence.documents,
            hashed=self._evidence.hashed,
            quotes=self._evidence.proved,
            compared=compared,
            compared_line=compared_line,
            problems=tuple(self._problems),
            notes=tuple(self._notes),
        )

    def _problem(self, what: str) -> None:
        self._problems[what] = None

    def _note(self, what: str) -> None:
        self._notes[what] = None

    def _compare(self, head: str | None) -> tuple[Literal["", "same", "earlier", "different"], int]:
        if head is None:
            return "", 0
        if head not in self._hashes:
            return "different", 0
        line = self._hashes.index(head) + 1
        return ("same" if line == len(self._hashes) else "earlier"), line

    def _chain(self) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        """Every line, and what it holds; a torn last one is left out."""
        expected: int | None = 0
        previous: str | None = FIRST_PREV
        for number, (line, is_last) in enumerate(lines_of(self._folder), 1):
            raw = parse(line)
            if raw is None:
                if is_last and self._is_torn(line):
                    self._note(
                        f"the last line was never finished ({len(line):,} bytes): it counts for "
                        "nothing, and is cut off where the run goes on"
                    )
                    return
                self._problem(f"{JOURNAL}: line {number} was changed: it is no JSON")
            elif expected is not None and raw.get("seq") != expected:
                self._problem(
                    f"{JOURNAL}: line {number} was changed, or lines before it are missing: its "
                    f"number is {raw.get('seq')!r:.40}, not {expected}"
                )
            elif previous is not None and raw.get("prev") != previous:
                lines = f"line {number - 1} or {number}" if number > 1 else "line 1"
                self._problem(f"{JOURNAL}: {lines} was changed: the second does not name the first")
            # What follows a line that was changed is known again from the line after it.
            number_here = None if raw is None else raw.get("seq")
            if isinstance(number_here, int) and expected in (None, number_here):
                expected = number_here + 1
            else:
                expected = None
            previous = None if raw is None else line_hash(line)
            yield line, raw

    def _is_torn(self, line: bytes) -> bool:
        """Whether it is the beginning of a line, as a writer that was killed leaves it."""
        with open_regular(self._folder / JOURNAL) as file:
            file.seek(-1, os.SEEK_END)
            ended = file.read() == b"\n"
        begins = b'{"seq":'
        return not ended and line[:7] == begins[: len(line)] and not _is_more_than_whole(line)

    def _event(self, raw: dict[str, Any], number: int) -> None:
        for reference in blob_references(raw):
            if is_digest(digest := reference[BLOB]):
                self._texts.add(digest)
        try:
            event = self._decoder.record(raw, number).event
        except JournalError as error:
            self._problem(str(error).replace(f"{self._folder}/", ""))
            return
        if isinstance(event, RunStarted):
            self._started = event
        if isinstance(event, RunStarted | RunForked):
            self._run = event.run
        self._evidence.add(event)
        self._ended = isinstance(event, RunEnded)

    def _files(self) -> None:
        """Texts that no line names, second copies of texts, and checkpoints: named by content."""
        unnamed = 0
        for path in _below(self._folder / BLOBS):
            if path.suffix == ".part" and _is_fresh(path):  # being written or compressed just now
                continue
            digest = path.name.removesuffix(COMPRESSED)
            unnamed += digest not in self._texts
            if is_digest(digest) and content_hash(path) != digest:
                self._changed(path)
        if unnamed:
            self._note(f"files in {BLOBS} that no line names: {unnamed:,}")
        for path in _below(self._folder / CHECKPOINTS):
            if is_digest(path.name) and file_hash(path) != path.name:
                self._changed(path)

    def _changed(self, path: Path) -> None:
        name = path.relative_to(self._folder)
        self._problem(f"{name} was changed: it has not the hash that is its name")


def _below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if not path.is_dir()]


def _is_more_than_whole(line: bytes) -> bool:
    """Whether a whole line stands at its beginning: then its end was changed, not torn."""
    try:
        json.JSONDecoder().raw_decode(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < _FRESH_SECONDS
    except OSError:  # it has its name by now
        return True
