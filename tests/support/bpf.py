"""A machine for classic BPF, as the kernel's: what a filter says of a system call."""

from __future__ import annotations

import struct

from abyme.inside.lockdown.bpf import AND, ANY_BIT, AT_LEAST, EQUAL, GO, LOAD, RETURN


def verdict(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """Run the program on one call; what it returns. Raises where the kernel would refuse it."""
    whole = [each & (1 << 64) - 1 for each in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, audit, 0, *whole)
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = 0, 0
    while True:
        operation, holds, fails, value = code[at]
        at += 1
        if operation == LOAD:
            assert value % 4 == 0
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == AND:
            accumulator &= value
        elif operation == GO:
            at += value
        elif operation == RETURN:
            return int(value)
        else:
            true = {
                EQUAL: accumulator == value,
                AT_LEAST: accumulator >= value,
                ANY_BIT: bool(accumulator & value),
            }[operation]
            at += holds if true else fails
