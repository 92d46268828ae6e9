"""The proxy that the environment names for an address (``HTTPS_PROXY`` and its kin).

aiohttp's own ``trust_env`` would do this with two thread hops for each request, read passwords
from ``~/.netrc``, and send requests for this very machine through the proxy.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Proxy(NamedTuple):
    """A proxy's address without credentials, and the headers that carry them, if any."""

    url: str
    headers: dict[str, str]
    tunnels: bool
    """Whether it only passes TLS through (for an https address): then it sees no request, and
    its headers belong to the CONNECT alone."""


def proxy_for(url: str) -> Proxy | None:
    """The proxy for ``url``; None for loopback, for hosts in ``NO_PROXY`` and where none is named.

    Only proxies that speak HTTP are used; SOCKS is not supported.
    """
    from urllib.request import getproxies, proxy_bypass  # 20 ms, and aiohttp has paid them

    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    named = getproxies().get(parts.scheme, "")
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if not proxy.hostname or proxy.scheme not in ("http", "https"):
        return None
    headers = {}
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    address = proxy._replace(netloc=proxy.netloc.rpartition("@")[2]).geturl()
    return Proxy(address, headers, parts.scheme == "https")


def is_loopback(host: str) -> bool:
    """True where ``host``, a name or an address, can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
