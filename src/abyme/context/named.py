"""What lies at a path that the caller named, and what is said where that is no data."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from abyme.context.documents import shown
from abyme.context.nearest import nearest_path
from abyme.errors import DataError


def named(path: str) -> os.stat_result:
    """What lies at a path that the caller named: a regular file or a directory.

    Links are followed. Raises :class:`DataError` for all else, without opening it: a FIFO would
    wait for ever, and a device may do anything.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(_missing(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, error) from error
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        return found
    raise DataError(
        f"{shown(path)} is {_kind(found.st_mode)}, not a file: save what it gives to a file first"
    )


def unreadable(path: str, error: OSError | ValueError) -> DataError:
    """A :class:`DataError` for a named path that the system refuses to open or list."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    denied = isinstance(error, PermissionError)
    advice = "check its permissions (ls -l)" if denied else "check the path"
    return DataError(f"{shown(path)} cannot be read ({why}): {advice}")


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a FIFO (named pipe)"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _missing(path: str) -> str:
    """Why there is nothing at ``path``, with the nearest name that there is."""
    link = Path(path)
    if link.is_symlink():
        target = shown(str(link.readlink()))
        return f"{shown(path)} is a symbolic link to {target}, which does not exist: check the link"
    existing = next((above for above in link.parents if os.path.lexists(above)), link)
    if not existing.is_dir():
        return f"{shown(path)} does not exist: {shown(str(existing))} is not a folder"
    near = nearest_path(path)
    hint = f"did you mean {shown(near.path)}?" if near else "check the path"
    return f"{shown(path)} does not exist: {hint}"
