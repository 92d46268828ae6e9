"""What a worker says of a cell, as the values that everybody else speaks of."""

from __future__ import annotations

from abyme.context.documents import Data, Document
from abyme.sandbox.frames import Done, FinishFrame, Place, cut
from abyme.types import CellError, CellResult, Finish, Quote, Variable


def result_of(done: Done, data: Data, raw: str) -> CellResult:
    """A cell that ended; ``raw``: what was written past Python meanwhile."""
    past = _past_python(raw)
    return CellResult(
        ended=done.ended,
        output=done.output + past,
        output_chars=done.output_chars + len(past),
        error=None if done.error is None else cut(done.error),
        variables=tuple(Variable(v.name, v.type, v.size) for v in done.variables),
        finish=None if done.finish is None else finish_of(done.finish, data),
        draft=done.draft,
        notes=done.notes,
        seconds=done.seconds,
        cpu_seconds=done.cpu_seconds,
        peak_bytes=done.peak_bytes,
    )


def death(how: str, seconds: float, raw: str) -> CellResult:
    """A cell whose worker ended under it, and how."""
    past = _past_python(raw)
    error = CellError(type="WorkerDied", message=how, traceback="")
    return CellResult(
        ended="died", output=past, output_chars=len(past), error=error, seconds=seconds
    )


def finish_of(found: FinishFrame, data: Data) -> Finish:
    """An answer with its quotes, of which those in no document are left out.

    Their bytes are counted in the file, where a document is a part of one; their lines are not.
    """
    quotes = tuple(
        _quote(place, data.documents[place.document])
        for place in found.quotes
        if place.document < len(data.documents)
    )
    return Finish(found.value, found.text, found.via, quotes)


def _quote(place: Place, document: Document) -> Quote:
    start, end = place.start + document.offset, place.end + document.offset
    return Quote(place.text, document.name, place.line, start, end)


def _past_python(raw: str) -> str:
    return f"\n[written straight to descriptor 1 or 2:]\n{raw}" if raw else ""
