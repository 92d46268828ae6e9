"""``abyme verify``: whether a run is as it was written, and what was changed where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from abyme.cli.text import plural, printable
from abyme.errors import ConfigError
from abyme.journal.format import is_line_hash
from abyme.journal.verify import Verification, verify

DIFFERENT = 1


def run(
    folder: Path, write: Callable[[str], None], *, head: str | None, data: bool, as_json: bool
) -> int:
    """Check the run in ``folder``, tell it by ``write``; the exit code.

    Raises :class:`ConfigError` where ``head`` is no hash, and
    :class:`~abyme.errors.JournalError` where there is no journal to read.
    """
    if head is not None and not is_line_hash(head := head.lower()):
        raise ConfigError("--head takes the hash that was printed with the answer: 32 hex digits")
    found = verify(folder, head, data)
    if as_json:
        body = {**msgspec.to_builtins(found), "whole": found.whole}
        write(json.dumps(body, ensure_ascii=False))
    else:
        for line in _lines(found):
            write(printable(line).replace("\n", " "))
    return 0 if found.whole else DIFFERENT


def _lines(found: Verification) -> Iterator[str]:
    state = "damaged" if found.problems else "different" if not found.whole else "whole"
    counts = [plural(found.lines, "line"), plural(found.texts, "long text")]
    if not found.redacted:
        documents = plural(found.documents, "document")
        counts += [f"{documents} ({found.hashed:,} by hash)", plural(found.quotes, "quote")]
    yield f"{found.run}: {state}"
    for problem in found.problems:
        yield f"  ✗ {problem}"
    yield f"  checked: {', '.join(counts)}"
    for note in found.notes:
        yield f"  note: {note}"
    yield f"  head {found.head}{_compared(found)}"


def _compared(found: Verification) -> str:
    match found.compared:
        case "same":
            return ", as given"
        case "earlier":
            return f"; the hash given is that of line {found.compared_line:,}: it went on after it"
        case "different":
            return "; no line has the hash given"
    return ""
