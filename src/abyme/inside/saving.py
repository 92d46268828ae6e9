"""The worker's half of checkpoints: made when the host asks, handed over and taken in in pieces.

The host asks for each piece, so that a cell which arrives meanwhile waits for one piece at most. It
gives up what takes longer by a frame, ``abandon``: a signal could come late, and hit the next cell.
"""

from __future__ import annotations

import signal
import threading
import time
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from .codec import Frame
from .interrupts import Interrupts

if TYPE_CHECKING:
    from .references import References

FRAMES = frozenset(("checkpoint", "piece", "restore"))
"""The frames that are for here, but for ``abandon``."""
MAY_BE_GIVEN_UP = frozenset(("checkpoint", "restore"))
"""Those that may take long."""
PIECE = 1 << 18
"""Bytes of a checkpoint that travel in one frame."""
_REASON = 500


class Saving:
    """Answers the frames ``checkpoint``, ``piece`` and ``restore``.

    ``references`` is called when the first of them comes: what it imports costs a worker that
    never has a checkpoint nothing.
    """

    def __init__(
        self, references: Callable[[], References], pending: Callable[[], bool], held: Interrupts
    ) -> None:
        self._references = references
        self._pending = pending
        self._interrupts = held
        self._data = bytearray()
        self._given_up = 0

    def abandon(self, number: int) -> None:
        """Give up what the frame ``number`` asked for, under way or still to come. Any thread."""
        self._given_up = number
        if self._interrupts.cell_running:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def serve(self, frame: Frame) -> Frame:
        """Answer one of :data:`FRAMES`."""
        match frame["t"]:
            case "checkpoint":
                return self._checkpoint(frame)
            case "piece":
                return self._piece(frame)
        return self._restore(frame)

    def forget(self) -> None:
        """A cell begins: what was asked for before it is not wanted any more."""
        self._data = bytearray()

    def _checkpoint(self, frame: Frame) -> Frame:
        """Make one. The answer says how large it is, or why there is none."""
        self.forget()
        started = time.monotonic()
        reason = self._interruptible(self._dump, frame["id"])
        if reason:
            self.forget()
        return {
            "t": "checkpoint",
            "id": frame["id"],
            "bytes": len(self._data),
            "seconds": time.monotonic() - started,
            "reason": reason,
        }

    def _piece(self, frame: Frame) -> Frame:
        """A part of what was made, from the byte ``at`` on."""
        end = frame["at"] + PIECE
        data = b2a_base64(self._data[frame["at"] : end], newline=False)
        if end >= len(self._data):
            self.forget()
        return {"t": "piece", "id": frame["id"], "data": data.decode("ascii")}

    def _restore(self, frame: Frame) -> Frame:
        """Take in a part; with the last one, make the namespace of it."""
        self._data += a2b_base64(frame["data"])
        reason = ""
        if frame["last"]:
            reason = self._interruptible(self._load, frame["id"])
            self.forget()
        return {"t": "restored", "id": frame["id"], "reason": reason}

    def _dump(self) -> None:
        from .checkpoint import NotWhole, dump
        from .surroundings import obstacle

        references = self._references()
        if reason := obstacle(references.namespace, self._pending()):
            raise NotWhole(reason)
        if name := references.bound.changed():
            raise NotWhole(f"a cell changed {name}, which is bound anew")
        self._data = dump(references)
        if self._pending():
            raise NotWhole("a call was made while it was written")

    def _load(self) -> None:
        from .checkpoint import load

        load(self._data, self._references())

    def _interruptible(self, work: Callable[[], None], number: int) -> str:
        """Do it as a cell is run: an interrupt ends it. Why it failed, or nothing."""
        from .checkpoint import NotWhole

        try:
            try:
                self._interrupts.cell_running = True
                if self._given_up == number:  # before it was noticed here
                    raise KeyboardInterrupt
                work()
            finally:
                self._interrupts.cell_running = False
        except NotWhole as error:
            # Names of variables may be of any length, and of any characters.
            return str(error)[:_REASON].encode("utf-8", "replace").decode()
        except KeyboardInterrupt:
            return "it was given up"
        except BaseException as error:  # SystemExit, raised by what is pickled
            return type(error).__name__[:100]
        finally:
            self._interrupts.cell_running = False  # an interrupt may have cut the other short
        return ""
