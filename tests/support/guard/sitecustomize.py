"""No test reaches beyond the loopback interface: an audit hook that Python runs by itself.

``tests/conftest.py`` puts this folder on ``PYTHONPATH``, so that every Python that a test starts
has the hook too; workers have an environment of their own and ask for no network in any test.
"""

from __future__ import annotations

import ipaddress
import sys
from typing import Any


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise where a socket is about to reach for anything but this machine."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not is_local(host):
        raise PermissionError(f"a test reaches for {host!r}, which is not this machine")


def is_local(host: Any) -> bool:
    """Whether a host is the loopback interface; "" and None mean no host (a unix socket)."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


sys.addaudithook(guard)
