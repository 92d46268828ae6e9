"""The worker's life: limits, hello, then one cell after the other until the host hangs up."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from .answer import Finishing, as_finish, is_plain
from .arrivals import MOUNTED, arrivals
from .bound import Bound
from .calls import Calls
from .channel import Channel, end_group
from .children import child_calls
from .codec import Frame, FrameError
from .documents import Store
from .functions import EXCEPTIONS, model_calls, tool
from .interrupts import Interrupts
from .jobs import as_completed
from .lockdown.landlock import Ruleset
from .lockdown.lock import CannotLock, lock_down
from .lockdown.offer import offer
from .namespace import CELL, Namespace, Snapshot, describe_error
from .output import Output, Stream
from .reception import Reception
from .referring import Referring
from .reserve import Reserve
from .results import NO_DESCRIPTORS
from .saving import FRAMES as SAVING
from .saving import MAY_BE_GIVEN_UP, Saving
from .search import Finder
from .seeding import seed_random
from .signatures import telling
from .usage import Usage, tell_memory

if TYPE_CHECKING:
    from .references import References

_THREAD_STACK = 1 << 20


class Listing(str):
    """A text that shows as itself where a notebook would show its repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def main(descriptor: int, inherited: Inherited) -> None:
    """Serve the host over the socket ``descriptor``; returns only where it cannot be held."""
    interrupts = Interrupts()
    serve(Channel(descriptor, interrupts, end_group), interrupts, inherited)


def serve(
    channel: Channel,
    interrupts: Interrupts,
    inherited: Inherited,
    *,
    interrupts_by_frame: bool = False,
) -> None:
    """The same over a channel that is there already."""
    # A thousand threads that wait for calls must fit beside the data under RLIMIT_DATA.
    threading.stack_size(_THREAD_STACK)
    reception = Reception(channel, interrupts, always=interrupts_by_frame)
    calls = Calls(channel, reception)
    tell_memory(channel)
    try:
        worker = Worker(reception.next(), channel, calls, interrupts, inherited)
    except Exception as error:  # its own streams go nowhere yet
        unlocked = isinstance(error, CannotLock)
        said = f"a worker cannot begin here: {type(error).__name__}: {error}"
        reason = str(error) if unlocked else said[:1_000]
        channel.send({"t": "refused", "reason": reason, "unlocked": unlocked})
        reception.next()  # until it is killed: its end could be seen before the frame is read
        return

    def handle(frame: Frame) -> bool:
        if frame["t"] == "documents" and "error" not in frame:
            given = channel.take_descriptors()
            whole = len(given) == frame["count"]
            frame |= {"value": given} if whole else {"error": NO_DESCRIPTORS}
            if not calls.settle(frame) or not whole:
                for descriptor in given:
                    os.close(descriptor)
        elif frame["t"] in ("reply", "part", "documents", "pulled"):
            calls.settle(frame)
        elif frame["t"] == "abandon":
            worker.saving.abandon(frame["id"])
        elif frame["t"] == "interrupt":
            interrupts.ask()
        else:
            return False
        return True

    channel.send({"t": "ready", "layers": worker.layers})
    reception.start(handle)  # its thread takes half a millisecond, in which the host goes on
    while True:
        frame = reception.next()
        reception.cell_begins(calls.pending, listening=frame["t"] in MAY_BE_GIVEN_UP)
        reply = worker.serve(frame)
        try:
            channel.send(reply)
        except FrameError as error:
            channel.send(_without_answer(reply, error))
        reception.cell_ended()


class Inherited(NamedTuple):
    """What a worker has from the process that it was forked from."""

    rules: Ruleset | None = None
    text: str | None = None
    """The run's one text, where that process has built it already."""


class Worker:
    """One namespace over one set of documents; ``hello`` is the host's first frame.

    When it is made, the process is held as that frame asks. Raises
    :class:`.lockdown.lock.CannotLock`.
    """

    def __init__(
        self,
        hello: Frame,
        channel: Channel,
        calls: Calls,
        interrupts: Interrupts,
        inherited: Inherited,
    ) -> None:
        self._channel = channel
        self._interrupts = interrupts
        self._cell = 0
        self._kind = hello["kind"]
        self._store = Store(
            hello["kind"],
            hello["documents"],
            arrivals(hello, calls),
            hello["text_limit"],
            inherited.text,
        )
        stream = self._stream if hello["stream"] else None
        self._output = Output(hello["output_chars"], stream)
        self._streams = Stream(self._output, 1), Stream(self._output, 2)
        sys.stdout, sys.stderr = self._streams
        sys.dont_write_bytecode = True
        self._finder = Finder(self._store)
        self._namespace = Namespace(self._output.add, hello["output_chars"])
        self.saving = Saving(self._references, calls.pending, interrupts)
        self._finishing = Finishing(self._namespace.names, self._finder.locate)
        self._namespace.protected = self._functions(hello, calls)
        if self._kind == "documents":
            self._namespace.protected["context"] = self._store.context()
        self._namespace.names["as_completed"] = as_completed  # code may import others by this name
        self._bound = Bound(self._namespace)
        self._namespace.restore()
        if self._store.may_be_lazy:
            # No other worker's `re` and allocator are touched.
            from .heap import reuse_freed_memory
            from .wrapping import wrap_re

            wrap_re()
            reuse_freed_memory()
        self._make_importable(hello["packages"])
        seed_random(hello["seed"])
        self._usage = Usage()
        self._reserve = Reserve()
        self.layers = self._held(hello, inherited)

    def _held(self, hello: Frame, inherited: Inherited) -> tuple[str, ...]:
        """Hold this process; behind a boundary of another kind, as far as that lets it."""
        layers, memory, packages = hello["layers"], hello["memory_bytes"], hello["packages"]
        folders = [MOUNTED] if hello.get("data") == "mount" else []
        mapped = sum(document["bytes"] for document in hello["documents"])
        if boundary := hello.get("boundary"):
            return (boundary, *offer(layers, memory, packages, folders, mapped))
        return lock_down(layers, memory, packages, inherited.rules, folders, mapped)

    def _functions(self, hello: Frame, calls: Calls) -> dict[str, Any]:
        tools = {
            item["name"]: tool(calls, item["name"], item["parameters"], item["doc"])
            for item in hello["tools"]
        }
        own = {
            **EXCEPTIONS,
            **model_calls(calls),
            **child_calls(calls, Referring(self._store)),
            **self._finishing.functions(),
            "SHOW_VARS": self._show_vars,
            **telling((self._finder.search, self._finder.grep)),
        }
        return {**tools, **own}

    def _make_importable(self, packages: dict[str, list[str]]) -> None:
        """Let ``import numpy`` and the like work, by explicit paths and for these names alone."""
        if packages:
            from .packages import Finder as PackageFinder

            sys.meta_path.append(PackageFinder(packages))

    def serve(self, frame: Frame) -> Frame:
        """Do what one frame of the host asks; the frame to answer with."""
        if frame["t"] == "look":
            return {"t": "looked", "id": frame["id"], "finish": self._look(frame)}
        if frame["t"] in SAVING:
            return self.saving.serve(frame)
        if frame["t"] == "bind":
            return self._bound.serve(frame)
        cell, code = frame["cell"], frame["code"]
        if (clock := frame.get("clock")) is None:
            return {"t": "done", **self._run(cell, code)}
        from .wallclock import beginning_at

        with beginning_at(clock):
            return {"t": "done", **self._run(cell, code)}

    def _run(self, cell: int, code: str) -> Frame:
        self._cell = cell
        self.saving.forget()
        self._output.start()
        self._finishing.start()
        before = self._namespace.snapshot()
        self._usage.start()
        self._namespace.restore()
        ended, error = self._execute(code, f"{CELL}{cell}>")
        self._interrupts.cell_running = False  # an interrupt may have cut the `finally` short
        notes = self._overwritten()
        # A cell that raised may have handed over an answer first; the host says why it is none.
        finish, draft = self._finishing.recorded, ""
        if ended == "done":
            try:
                draft, finish = self._finishing.draft(), self._finishing.collect()
                if draft and finish is None:
                    notes.append('answer["content"] is set; answer["ready"] = True hands it over')
            except Exception as broken:  # an answer too long, or whose __str__ raises
                ended, error = "raised", describe_error(broken)
        return {
            "cell": cell,
            "ended": ended,
            "error": error,
            "output": self._output.text(),
            "output_chars": self._output.characters,
            "variables": self._changes(before),
            "finish": finish,
            "draft": draft,
            "notes": notes,
            **self._usage.figures(),
        }

    def _references(self) -> References:
        from .references import References

        return References(self._namespace, self._store, self._bound)

    def _overwritten(self) -> list[str]:
        names = [f"`{name}`" for name in self._namespace.restore()]
        if (sys.stdout, sys.stderr) != self._streams:  # a redirect that was not undone
            sys.stdout, sys.stderr = self._streams
            names.append("`sys.stdout` or `sys.stderr`")
        if not names:
            return []
        return [
            f"this cell overwrote {', '.join(names)}: restored; use other names for your values"
        ]

    def _execute(self, code: str, filename: str) -> tuple[str, dict[str, str] | None]:
        """Run the cell; how it ended, and the exception where one ended it."""
        try:
            try:
                self._reserve.hold()
                self._interrupts.cell_running = True
                self._load_text(code)
                self._namespace.run(code, filename)
            finally:
                self._interrupts.cell_running = False
                self._reserve.release()
        except KeyboardInterrupt as error:
            return "interrupted", describe_error(error)
        except SystemExit as error:
            return "exited", describe_error(error)
        except BaseException as error:  # whatever the cell raises is told, nothing is passed on
            return "raised", describe_error(error)
        return "done", None

    def _load_text(self, code: str) -> None:
        """Build the ``str`` of a single text when a cell first names it, not before.

        A 100 MB text that no cell touches costs nothing. Code that reaches ``context`` without
        containing the word finds it only after a cell that does.
        """
        protected = self._namespace.protected
        if self._kind == "text" and "context" not in protected and "context" in code:
            protected["context"] = self._store.context()
            self._namespace.names["context"] = protected["context"]

    def _changes(self, before: Snapshot) -> list[dict[str, str]]:
        try:
            return self._namespace.changes(before)
        except (RecursionError, MemoryError):  # nested too deep to walk, or nothing left
            return []

    def _look(self, frame: Frame) -> dict[str, Any] | None:
        name = frame["name"]
        names = self._namespace.names
        if name not in names or name in self._namespace.protected:
            return None
        value = names[name]
        if name == "answer" and isinstance(value, dict) and "ready" in value:
            value = value.get("content")
        try:
            return as_finish(value, "FINAL_VAR") if is_plain(value) else None
        except Exception:  # a value whose __str__ raises, or too large: no answer
            return None

    def _show_vars(self) -> Listing:
        """The variables you made: name, type and size."""
        rows = [
            f"{name}: {kind}{f', {size}' if size else ''}"
            for name, (_, kind, size) in sorted(self._namespace.snapshot().items())
        ]
        return Listing("\n".join(rows) or "(no variables yet)")

    def _stream(self, text: str) -> None:
        self._channel.send({"t": "out", "cell": self._cell, "text": text})


def _without_answer(reply: Frame, why: FrameError) -> Frame:
    """What is said instead where an answer, which alone can be so large, fits no frame."""
    if reply["t"] == "looked":
        return {**reply, "finish": None}
    message = f"the answer cannot be handed over: {why}"
    error = {"type": "ValueError", "message": message, "traceback": f"ValueError: {message}"}
    return {**reply, "ended": "raised", "error": error, "finish": None, "draft": ""}
