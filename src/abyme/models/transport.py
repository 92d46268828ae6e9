"""HTTP for every wire: one pooled client, one clear line for everything that can go wrong."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from abyme.errors import BadReply, EndpointError, ModelError
from abyme.models.proxies import Proxy, proxy_for
from abyme.models.quoting import excerpt, shorten, shown_url

if TYPE_CHECKING:
    import aiohttp

MAX_BODY = 64 * 1024 * 1024
"""Bytes of one reply, decompressed. What is longer is no reply of a model."""

KEEP_ALIVE = 15.0
"""Seconds that an idle connection is kept. Many servers close theirs after 60 or 75 s, some
behind a load balancer after 20: we go first, so that a request seldom meets a closing one."""

_LARGE = 1024 * 1024
"""Bytes from which a request body is written piece by piece, so that the loop keeps turning."""


def import_aiohttp() -> ModuleType:
    """aiohttp, imported on first use: it costs 0.3 s, which a run without a network need not pay.

    The collector is off meanwhile: an import makes many objects and hardly any garbage, and
    scanning them takes 15–20 % of the time.
    """
    if (module := sys.modules.get("aiohttp")) is not None and hasattr(module, "ClientSession"):
        return module
    collecting = gc.isenabled()
    gc.disable()
    try:
        import aiohttp
    finally:
        if collecting:
            gc.enable()
    return aiohttp


class HttpReply(NamedTuple):
    """A whole HTTP reply. ``headers`` ignore case; ``body`` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStream:
    """An HTTP reply whose head has come and whose body is still on its way."""

    def __init__(self, response: aiohttp.ClientResponse, url: str) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._url = url
        self._received = 0

    async def read_some(self) -> bytes:
        """Whatever has arrived, at least one byte; b"" at the end of the body.

        Raises EndpointError where the connection breaks, BadReply beyond ``MAX_BODY``.
        """
        try:
            chunk = await self._response.content.readany()
        except (import_aiohttp().ClientError, OSError) as error:
            raise network_error(error, self._url) from None
        self._received += len(chunk)
        if self._received > MAX_BODY:
            raise BadReply(f"{shown_url(self._url)} sent more than {MAX_BODY >> 20} MB: no reply")
        return chunk

    async def read(self) -> bytes:
        """The rest of the body. Raises like :meth:`read_some`."""
        chunks = []
        while chunk := await self.read_some():
            chunks.append(chunk)
        return b"".join(chunks)

    async def drain(self, seconds: float = 0.2) -> None:
        """Read what should be only the end of the body, so that the connection can be used again.

        An endpoint that keeps it open beyond ``seconds`` loses the connection, not our time.
        """
        try:
            async with asyncio.timeout(seconds):
                while await self.read_some():
                    pass
        except (TimeoutError, ModelError):
            pass


class Transport:
    """Pooled HTTP connections, shared by all models of a process.

    Made anywhere, bound to the event loop of its first request until :meth:`close`. It sets no
    limit to the number of connections (concurrency is the scheduler's) and no deadline but the one
    for connecting: the caller wraps a request in ``asyncio.timeout``, and cancelling it closes its
    connection. It follows no redirect, since that could carry the key elsewhere, and keeps no
    cookies. Nothing is ever sent twice.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._proxies: dict[str, Proxy | None] = {}

    async def post_json(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect_seconds: float = 10
    ) -> HttpReply:
        """POST ``body`` and return the whole reply, whatever its status.

        Raises EndpointError where the endpoint cannot be reached or drops the connection, BadReply
        for what is not HTTP or too long, ModelError for a redirect.
        """
        response = await self._send(url, headers, body, connect_seconds)
        try:
            reply = HttpStream(response, url)
            return HttpReply(reply.status, reply.headers, await reply.read())
        finally:
            response.close()

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect_seconds: float = 10
    ) -> AsyncIterator[HttpStream]:
        """The same, with the body still to be read. Raises like :meth:`post_json`.

        On leaving, a connection whose body was read to its end goes back to the pool; any other
        is closed.
        """
        response = await self._send(url, headers, body, connect_seconds)
        try:
            yield HttpStream(response, url)
        finally:
            response.close()

    async def close(self) -> None:
        """Close all connections. A later request opens new ones, on any loop."""
        session, self._session, self._loop = self._session, None, None
        self._proxies.clear()
        if session is not None:
            await session.close()

    async def _send(
        self, url: str, headers: Mapping[str, str], body: bytes, connect_seconds: float
    ) -> aiohttp.ClientResponse:
        aiohttp = import_aiohttp()
        session = self._open()
        if url not in self._proxies:
            self._proxies[url] = proxy_for(url)
        proxy = self._proxies[url]
        if proxy and not proxy.tunnels:
            headers = {**headers, **proxy.headers}
        try:
            response = await session.post(
                url,
                data=body if len(body) < _LARGE else io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect_seconds),
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy.headers if proxy and proxy.tunnels else None,
            )
        except (aiohttp.ClientError, OSError) as error:
            # "from None": aiohttp's errors hold the request's headers, and those hold the key.
            raise network_error(error, url) from None
        if 300 <= response.status < 400:
            response.close()
            raise _redirected(response.status, url, response.headers.get("Location", ""))
        return response

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is not None:
            if self._loop is loop:
                return self._session
            if os.getpid() == self._pid:
                raise RuntimeError("this Transport is bound to another event loop: close it there")
            # A forked child: the sockets are the parent's, so they are left alone.
        http = import_aiohttp()
        session: aiohttp.ClientSession = http.ClientSession(
            connector=http.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=http.DummyCookieJar(),
            headers={"User-Agent": "abyme"},
        )
        self._session, self._loop, self._pid = session, loop, os.getpid()
        return session


def _redirected(status: int, url: str, location: str) -> ModelError:
    target = excerpt(shown_url(location)) or "nowhere"
    return ModelError(
        shorten(
            f"{shown_url(url)} redirects to {target} ({status}), which is not followed: "
            "the key would go along. If that address is right, set base_url to it"
        ),
        status=status,
    )


def network_error(error: Exception, url: str) -> ModelError:
    """What befell a request to ``url`` on its way, as one line without secrets."""
    aiohttp = import_aiohttp()
    where = shown_url(url)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return _unreachable(error, where)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return EndpointError(f"{where} dropped the connection before it answered")
    if isinstance(error, aiohttp.ClientPayloadError):
        if "decode content-encoding" in str(error):
            return BadReply(f"{where} sent a body that cannot be decompressed")
        return EndpointError(f"{where} dropped the connection in the middle of the reply")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return EndpointError(f"cannot reach {where}: the proxy answered {error.status}")
    if isinstance(error, aiohttp.ClientResponseError):
        return BadReply(shorten(f"{where} did not answer in HTTP: {excerpt(error.message)}"))
    if isinstance(error, OSError):
        return EndpointError(f"{where} dropped the connection ({_reason(error)})")
    return ModelError(f"cannot ask {where}: {type(error).__name__}; check base_url")


def _unreachable(error: Exception, where: str) -> ModelError:
    aiohttp = import_aiohttp()
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = f"its certificate is not trusted ({excerpt(str(error.certificate_error))})"
    elif isinstance(error, aiohttp.ClientConnectorSSLError):
        hint = "; perhaps it speaks plain http://" if "WRONG_VERSION" in str(error) else ""
        reason = f"no TLS connection{hint}"
    else:
        reason = _connecting(error)
    failure = EndpointError(shorten(f"cannot reach {where}: {reason}"))
    if "; " in reason:
        failure.advice = ""  # it says already what to look at
    # A certificate does not become right by asking again.
    failure.retryable = not isinstance(error, aiohttp.ClientSSLError)
    return failure


def _connecting(error: Exception) -> str:
    aiohttp = import_aiohttp()
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time; is the address right?"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f'no such host as "{error.host}"; check base_url and the network'
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "the proxy named in the environment does not answer"
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "connection refused; is the server running?"
    return _reason(error)


def _reason(error: Exception) -> str:
    return excerpt(getattr(error, "strerror", None) or type(error).__name__).lower()
