"""HTTP over real sockets: pooling, refusals, and one clear line for each thing that breaks."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from abyme.errors import BadReply, EndpointError, ModelError
from abyme.models import transport as transport_module
from abyme.models.proxies import Proxy, proxy_for
from abyme.models.transport import HttpReply, Transport, import_aiohttp, network_error
from support.calls import until
from support.stub import Drop, Garbage, Hang, Raw, Reply, Status, Stream, Stub, Truncate, echo

T = TypeVar("T")
KEY = "sk-secret-0123456789"
HEADERS = {"Authorization": f"Bearer {KEY}"}
BODY = b'{"messages": [{"role": "user", "content": "hi"}]}'


def use(work: Callable[[Transport], Awaitable[T]]) -> T:
    """Run ``work`` with a transport, and close it."""

    async def main() -> T:
        transport = Transport()
        try:
            return await work(transport)
        finally:
            await transport.close()

    return asyncio.run(main())


def post(url: str, body: bytes = BODY, **options: Any) -> HttpReply:
    return use(lambda transport: transport.post_json(url, HEADERS, body, **options))


def failure(url: str, **options: Any) -> ModelError:
    """The error that asking ``url`` ends in; it must not show the key in any way."""
    with pytest.raises(ModelError) as caught:
        post(url, **options)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in shown
    assert len(str(caught.value)) <= 300
    return caught.value


def test_a_reply_comes_with_status_headers_and_body() -> None:
    with Stub([Status(418, "short and stout", {"X-Thing": "1"})]) as stub:
        reply = post(stub.url)
    assert (reply.status, reply.body) == (418, b"short and stout")
    assert reply.headers.get("x-thing") == "1"
    assert stub.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert stub.requests[0].raw == BODY


def test_sequential_requests_share_one_connection() -> None:
    async def work(transport: Transport) -> None:
        for _ in range(20):
            await transport.post_json(stub.url, HEADERS, BODY)

    with Stub(echo) as stub:
        use(work)
    assert (len(stub.requests), stub.accepted) == (20, 1)


def test_many_requests_are_in_flight_at_once() -> None:
    async def work(transport: Transport) -> list[HttpReply]:
        calls = (transport.post_json(stub.url, HEADERS, BODY) for _ in range(200))
        return await asyncio.gather(*calls)

    with Stub(lambda request: Reply(str(request.index), latency=1)) as stub:
        replies = use(work)
    texts = {json.loads(r.body)["choices"][0]["message"]["content"] for r in replies}
    assert len(texts) == 200
    assert stub.max_concurrent > 100  # aiohttp's own limit, which we lift


def test_large_bodies_go_out_whole() -> None:
    body = b'"' + b"x" * (3 << 20) + b'"'
    with Stub(echo) as stub:
        post(stub.url, body)
    assert stub.requests[0].raw == body


def test_compressed_replies_are_decompressed() -> None:
    packed = Garbage(gzip.compress(b"hello " * 99), headers={"Content-Encoding": "gzip"})
    with Stub([packed]) as stub:
        assert post(stub.url).body == b"hello " * 99


def test_a_body_that_cannot_be_decompressed_is_a_bad_reply() -> None:
    with Stub([Garbage(b"not gzip at all", headers={"Content-Encoding": "gzip"})]) as stub:
        error = failure(stub.url)
    assert isinstance(error, BadReply)
    assert "cannot be decompressed" in str(error)


def test_endless_replies_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_BODY", 1 << 20)
    bomb = Garbage(gzip.compress(b"0" * (8 << 20)), headers={"Content-Encoding": "gzip"})
    with Stub([bomb]) as stub:
        error = failure(stub.url)
    assert isinstance(error, BadReply)
    assert "more than 1 MB" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused_and_never_followed(status: int) -> None:
    with Stub(echo) as other:
        target = other.url.replace("//", "//user:hunter2@") + "?token=abc"
        with Stub([Status(status, "", {"Location": target})]) as stub:
            error = failure(stub.url)
        assert other.requests == []
    assert not error.retryable
    assert error.status == status
    assert other.url in str(error)
    assert "hunter2" not in str(error)
    assert "token" not in str(error)


def test_connection_refused_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        error = failure(url)
    assert isinstance(error, EndpointError)
    assert str(error) == f"cannot reach {url}: connection refused; is the server running?"
    assert error.advice == "", "one piece of advice is enough"


@pytest.mark.parametrize("action", [Drop(), Drop(9), Raw(b"")])
def test_a_connection_dropped_before_the_reply_can_be_tried_again(action: Any) -> None:
    with Stub([action]) as stub:
        error = failure(stub.url)
    assert isinstance(error, EndpointError)
    assert error.retryable
    assert "dropped the connection" in str(error)


@pytest.mark.parametrize(
    "action",
    [
        Truncate(),
        Drop(160),
        Stream([b"half a ", b"reply"], ended=False),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort"),
    ],
)
def test_a_connection_dropped_within_the_reply_can_be_tried_again(action: Any) -> None:
    with Stub([action]) as stub:
        error = failure(stub.url)
    assert isinstance(error, EndpointError)
    assert error.retryable
    assert "dropped the connection" in str(error)


def test_a_stale_connection_is_an_endpoint_error_and_the_next_try_works() -> None:
    """A server may close an idle connection just as we use it. We never send twice by ourselves."""

    def close_after_first(request: Any) -> Any:
        return Drop() if request.index == 1 else "ok"

    async def work(transport: Transport) -> int:
        await transport.post_json(stub.url, HEADERS, BODY)
        with pytest.raises(EndpointError):
            await transport.post_json(stub.url, HEADERS, BODY)
        return (await transport.post_json(stub.url, HEADERS, BODY)).status

    with Stub(close_after_first) as stub:
        assert use(work) == 200
    assert (len(stub.requests), stub.accepted) == (3, 2)


def test_idle_connections_that_the_server_closed_are_not_used() -> None:
    async def work(transport: Transport) -> int:
        await transport.post_json(stub.url, HEADERS, BODY)
        stub.drop_connections()
        await until(lambda: stub.open_connections == 0)
        await asyncio.sleep(0.05)  # lets our side notice
        return (await transport.post_json(stub.url, HEADERS, BODY)).status

    with Stub(echo) as stub:
        assert use(work) == 200


def test_what_is_not_http_is_a_bad_reply() -> None:
    with Stub([Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")]) as stub:
        error = failure(stub.url)
    assert isinstance(error, BadReply)
    assert "did not answer in HTTP" in str(error)


def test_no_connection_in_time_says_so() -> None:
    with Stub([]) as stub:  # accepts, and never greets in TLS
        error = failure(stub.url.replace("http:", "https:"), connect_seconds=0.2)
    assert isinstance(error, EndpointError)
    assert "no connection in time" in str(error)


def test_tls_to_a_plain_server_hints_at_http() -> None:
    async def main() -> str:
        answered = asyncio.Event()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            answered.set()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            transport = Transport()
            with pytest.raises(EndpointError) as caught:
                await transport.post_json(f"https://127.0.0.1:{port}/v1", HEADERS, BODY)
            await transport.close()
            await answered.wait()
        assert not caught.value.retryable
        return str(caught.value)

    assert "plain http://" in asyncio.run(main())


def test_names_certificates_and_proxies_that_fail_have_lines_of_their_own() -> None:
    """Built by hand: real ones would need the network."""
    aiohttp = import_aiohttp()
    key = aiohttp.client_reqrep.ConnectionKey("nowhere.invalid", 443, True, True, None, None, None)
    url = "https://user:hunter2@nowhere.invalid/v1?k=1"
    unknown = network_error(aiohttp.ClientConnectorDNSError(key, OSError(8, "x")), url)
    untrusted = ssl.SSLCertVerificationError("self-signed certificate")
    certificate = network_error(aiohttp.ClientConnectorCertificateError(key, untrusted), url)
    proxy = network_error(aiohttp.ClientProxyConnectionError(key, OSError(111, "x")), url)
    odd = network_error(aiohttp.InvalidURL(url), url)
    assert 'no such host as "nowhere.invalid"' in str(unknown)
    assert "self-signed" in str(certificate)
    assert not certificate.retryable
    assert "the proxy" in str(proxy)
    assert "check base_url" in str(odd)
    assert not any("hunter2" in str(e) for e in (unknown, certificate, proxy, odd))


@pytest.mark.parametrize("action", [Hang(), Stream([b"a", b"b"], gap=30)])
def test_cancelling_closes_the_connection(action: Any) -> None:
    async def work(transport: Transport) -> None:
        call = asyncio.create_task(transport.post_json(stub.url, HEADERS, BODY))
        await until(lambda: len(stub.requests) == 1)
        await asyncio.sleep(0.02)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: stub.open_connections == 0)

    with Stub([action]) as stub:
        use(work)


def test_a_deadline_of_the_caller_closes_the_connection() -> None:
    async def work(transport: Transport) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.post_json(stub.url, HEADERS, BODY)
        await until(lambda: stub.open_connections == 0)

    with Stub([Hang()]) as stub:
        use(work)


def test_leaving_a_stream_early_closes_its_connection() -> None:
    async def work(transport: Transport) -> bytes:
        async with transport.stream(stub.url, HEADERS, BODY) as stream:
            first = await stream.read_some()
        await until(lambda: stub.open_connections == 0)
        return first

    with Stub([Stream([b"first", b"second"], gap=0.05)]) as stub:
        assert use(work) == b"first"


def test_a_closed_transport_opens_again_even_in_another_loop() -> None:
    transport = Transport()

    async def once() -> int:
        status = (await transport.post_json(stub.url, HEADERS, BODY)).status
        await transport.close()
        await transport.close()
        return status

    with Stub(echo) as stub:
        assert [asyncio.run(once()), asyncio.run(once())] == [200, 200]


def test_a_transport_in_use_elsewhere_says_so() -> None:
    async def work(transport: Transport) -> None:
        await transport.post_json(stub.url, HEADERS, BODY)
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, transport.post_json(stub.url, HEADERS, BODY))

    with Stub(echo) as stub:
        use(work)


def test_cookies_are_not_kept() -> None:
    async def work(transport: Transport) -> None:
        for _ in range(2):
            await transport.post_json(stub.url, HEADERS, BODY)

    with Stub(lambda _: Status(200, "{}", {"Set-Cookie": "session=1; Path=/"})) as stub:
        use(work)
    assert "cookie" not in stub.requests[1].headers


def test_proxies_come_from_the_environment_but_never_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:p%40ss@proxy.test:3128")
    monkeypatch.setenv("http_proxy", "socks5://proxy.test:1080")
    monkeypatch.setenv("no_proxy", "inside.test")
    assert proxy_for("https://api.test/v1") == Proxy(
        "http://proxy.test:3128", {"Proxy-Authorization": "Basic bWU6cEBzcw=="}, tunnels=True
    )
    assert proxy_for("http://api.test/v1") is None
    assert proxy_for("https://inside.test/v1") is None
    for host in ("127.0.0.1:8000", "localhost", "[::1]:9", "a.localhost"):
        assert proxy_for(f"https://{host}/v1") is None


def test_requests_go_through_the_proxy_with_its_login(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub(echo) as proxy:
        address = f"http://me:pass@127.0.0.1:{proxy.port}"
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert post("http://model.invalid/v1/chat/completions").status == 200
    assert proxy.requests[0].path == "http://model.invalid/v1/chat/completions"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6cGFzcw=="


def test_aiohttp_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, abyme.models.openai; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_importing_aiohttp_leaves_the_collector_as_it_was() -> None:
    code = (
        "import gc; from abyme.models.transport import import_aiohttp;"
        "import_aiohttp(); print(gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
