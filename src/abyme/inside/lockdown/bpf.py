"""Classic BPF, as much of it as a seccomp filter takes: instructions, labels, a program as bytes.

A filter looks at one system call at a time, laid out as ``struct seccomp_data``: its number, the
architecture, the instruction's address and six arguments of 64 bits. It can load 32 bits of that,
mask and compare them, jump forward, and return what the kernel shall do.
"""

from __future__ import annotations

import struct

LOAD = 0x20
AND = 0x54
EQUAL = 0x15
AT_LEAST = 0x35
ANY_BIT = 0x45
GO = 0x05
RETURN = 0x06

NUMBER = 0
ARCHITECTURE = 4
_ARGUMENTS = 16

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
KILL = 0x80000000
"""The whole process, not only the thread."""

MOST_INSTRUCTIONS = 4096
ALL_BITS = 0xFFFFFFFF


def low_word(argument: int) -> int:
    """Where the low 32 bits of an argument are; both architectures are little-endian."""
    return _ARGUMENTS + 8 * argument


def high_word(argument: int) -> int:
    """Where its high 32 bits are."""
    return low_word(argument) + 4


class Program:
    """Instructions in order. Jumps to labels go forward, over any distance."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, int, int | str]] = []
        self._labels: dict[str, int] = {}

    def add(self, operation: int, value: int) -> None:
        """A load, an AND or a return."""
        self._instructions.append((operation, 0, 0, value))

    def go_if(self, comparison: int, value: int, label: str) -> None:
        """Go to ``label`` if the comparison of what is loaded with ``value`` holds."""
        # A conditional jump reaches 255 instructions; the one to a label reaches all of them.
        self._instructions += ((comparison, 0, 1, value), (GO, 0, 0, label))

    def go_unless(self, comparison: int, value: int, label: str) -> None:
        """Go to ``label`` if it does not."""
        self._instructions += ((comparison, 1, 0, value), (GO, 0, 0, label))

    def label(self, name: str) -> None:
        """What comes next is what ``name`` stands for."""
        self._labels[name] = len(self._instructions)

    def __len__(self) -> int:
        return len(self._instructions)

    def assemble(self) -> bytes:
        """The program as the kernel reads it: an array of ``struct sock_filter``."""
        if len(self) > MOST_INSTRUCTIONS:
            raise ValueError(f"{len(self):,} instructions, and {MOST_INSTRUCTIONS:,} are the most")
        return b"".join(
            struct.pack("=HBBI", operation, holds, fails, self._operand(at, value))
            for at, (operation, holds, fails, value) in enumerate(self._instructions)
        )

    def _operand(self, at: int, value: int | str) -> int:
        if isinstance(value, int):
            return value
        distance = self._labels[value] - at - 1
        if distance < 0:
            raise ValueError(f"{value} lies behind: a filter only jumps forward")
        return distance
