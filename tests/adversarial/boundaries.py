"""What a boundary by itself, with the layers inside left off, does not hold.

Known by trial. Some of it harms nobody there (its own environment, a server that nobody can reach);
some would (the virtual machine's host, bombs, the kernel's rarer calls).
"""

from __future__ import annotations

BUBBLEWRAP_LETS_THROUGH: dict[str, tuple[str, ...]] = {
    "reading files": (
        "its own environment by /proc",
        "the names of this machine's users' processes",
    ),
    "writing files": (
        "a lock on a file that others use",
        "a record lock",
        "its own memory by /proc",
    ),
    "other processes": (
        "a signal to the parent",
        "a signal to its own group",
        "outliving the host",
        "becoming readable to its siblings",
    ),
    "the network": (
        "descriptors hidden in a pair of its own, of which a user has so many",
        "a descriptor to the host",
        "a TCP server",
        "a TCP server without bind",
        "UDP",
        "a question to a name server",
        "netlink",
        "a sequenced packet out of a pair",
        "the host of this virtual machine",
        "data out of band",
    ),
    "starting processes": (
        "fork",
        "vfork",
        "clone",
        "clone3",
        "multiprocessing",
    ),
    "more of the kernel": (
        "io_uring",
        "userfaultfd",
        "add_key",
        "keyctl",
        "perf_event_open",
        "memfd_create",
        "memfd_secret",
        "memory both writable and executable",
        "making memory both",
        "SysV shared memory",
        "SysV messages",
        "SysV semaphores",
        "POSIX messages",
        "personality",
        "its own segments",
        "comparing processes",
        "system calls of 32 bits",
        "a filter that answers its own calls",
    ),
    "bombs": (
        "processes",
        "descriptors",
        "shared memory, which no limit counts",
        "a second stack, which no limit counts",
        "kernel memory in large pipes",
    ),
}
"""Names of attempts by their group."""
