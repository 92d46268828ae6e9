"""A journal that somebody else wrote: events, or JournalError with a reason, never more."""

from __future__ import annotations

import tempfile
from pathlib import Path

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["abyme"]):
    from abyme.errors import JournalError
    from abyme.journal.format import FIRST_PREV, JOURNAL, line_hash
    from abyme.journal.reader import read

FOLDER = Path(tempfile.mkdtemp(prefix="abyme-fuzz-"))


def target(data: bytes) -> None:
    """Each line of the input is the end of an event whose number and hash are right."""
    previous, lines = FIRST_PREV, []
    for number, rest in enumerate(data.split(b"\n")):
        line = b'{"seq":%d,"prev":"%s",%s' % (number, previous.encode(), rest)
        lines.append(line)
        previous = line_hash(line)
    (FOLDER / JOURNAL).write_bytes(b"\n".join(lines) + b"\n")
    try:
        for record in read(FOLDER):
            assert record.seq >= 0
    except JournalError as error:
        assert len(str(error)) < 10_000


if __name__ == "__main__":
    fuzz(target)
