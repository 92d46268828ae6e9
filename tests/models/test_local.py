"""Model servers on this machine are found whatever else listens there, and in time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from abyme.errors import AuthError, BadReply, EndpointError
from abyme.models.local import (
    DEFAULT,
    LocalServer,
    answering,
    choose_model,
    find_local,
    models_at,
)

Play = Callable[[socket.socket, bytes], None]


class Server:
    """A loopback server that plays one part, whoever connects; it keeps the requests."""

    def __init__(self, play: Play) -> None:
        self.requests: list[bytes] = []
        self._play = play
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"

    def close(self) -> None:
        for each in [self._listening, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            request = connection.recv(65536)
            self.requests.append(request)
            self._play(connection, request)
            connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Play], Server]]:
    servers: list[Server] = []

    def start(play: Play) -> Server:
        servers.append(Server(play))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def reply(body: bytes, status: str = "200 OK", headers: str = "") -> Play:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return lambda connection, request: connection.sendall(head.encode() + body)


def listing(*names: Any, **more: Any) -> Play:
    return reply(json.dumps({"data": [{"id": name} for name in names], **more}).encode())


def chunked(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b'{"data": [{"id"', b': "m"}]}'):
        connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.sendall(b"0\r\n\r\n")


def hang(connection: socket.socket, request: bytes) -> None:
    time.sleep(30)


def drip_head(connection: socket.socket, request: bytes) -> None:
    for _ in range(3000):
        connection.sendall(b"H")
        time.sleep(0.01)


def drip_body(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n")
    drip_head(connection, request)


def flood(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    for _ in range(50):
        connection.sendall(b" " * 1_000_000)


def test_those_that_answer_are_found_in_their_order(serve: Callable[[Play], Server]) -> None:
    first, second = serve(listing("a", "b:8b", object="list")), serve(chunked)
    none = serve(reply(b'{"object": "list", "data": null}'))
    urls = [first.url, "http://127.0.0.1:9/v1", second.url + "/", none.url]
    name = "127.0.0.1:" + first.url.split(":")[2].split("/")[0]
    found = find_local(urls, 10)
    assert found[0] == LocalServer(name, first.url, ("a", "b:8b"))
    assert [server.models for server in found[1:]] == [("m",), ()]
    assert first.requests[0].startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert second.requests[0].startswith(b"GET /v1/models HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "play",
    [
        reply(b"<html>hello</html>"),
        reply(b'{"data": [{"id": "m"}]}', "500 Oops"),
        reply(b'{"data": [{"id": "m"}]}', "404 Not Found"),
        reply(b'{"models": []}'),
        reply(b"[]"),
        reply(b'{"data": {"id": "m"}}'),
        reply(b'{"data": [{"id": 3}]}'),
        reply(b'{"data": ["m"]}'),
        reply(b'{"data": [{"id": "\xff"}]}'),
        reply(b'{"data": [{"id": "\\ud800"}]}'),
        reply(b"[" * 100_000),
        reply(b""),
        lambda connection, request: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
        lambda connection, request: connection.sendall(b"\x00" * 100_000),
        lambda connection, request: connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 999),
        lambda connection, request: None,
        flood,
    ],
    ids=[
        "html", "500", "404", "other object", "list", "no list", "number", "texts", "not utf-8",
        "surrogate",
        "nested", "empty", "ssh", "nulls", "headers", "closed", "50 MB",
    ],
)  # fmt: skip
def test_what_is_no_model_server_does_not_count(
    serve: Callable[[Play], Server], play: Play
) -> None:
    good = serve(listing("m"))
    assert [server.url for server in find_local([serve(play).url, good.url], 10)] == [good.url]


@pytest.mark.parametrize("play", [hang, drip_head, drip_body])
def test_whoever_does_not_answer_is_not_waited_for(
    serve: Callable[[Play], Server], play: Play
) -> None:
    slow, good = serve(play), serve(listing("m"))
    start = time.monotonic()
    found = find_local([slow.url, good.url, slow.url], 0.5)
    assert time.monotonic() - start < 15, "the parts take 30 seconds"
    assert [server.url for server in found] == [good.url]
    if play is not hang:  # its thread ends by its own timeout
        deadline = time.monotonic() + 15
        mine = [thread for thread in threading.enumerate() if thread.name == "abyme-models"]
        for thread in mine:
            thread.join(deadline - time.monotonic())
        assert not any(thread.is_alive() for thread in mine)


def test_no_redirect_is_followed_and_nothing_secret_is_sent(
    serve: Callable[[Play], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serve(listing("m"))
    redirects = serve(reply(b"", "302 Found", f"Location: {target.url}/models\r\n"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("http_proxy", target.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "")
    with_login = redirects.url.replace("http://", "http://user:sk-secret@")
    assert find_local([redirects.url, with_login], 10) == []
    assert len(redirects.requests) == 2 and target.requests == []
    for request in redirects.requests:
        assert b"sk-secret" not in request and b"uthorization" not in request


def test_names_are_hostile_text(serve: Callable[[Play], Server]) -> None:
    bad = ["", "a\x1b[31m", "a\nb", "a b", "\u202eabc", "x" * 201]
    many = [f"m{number}" for number in range(2000)]
    (found,) = find_local([serve(listing(*bad, "x" * 200, "good", "good", *many)).url], 10)
    assert found.models[:3] == ("x" * 200, "good", "m0") and len(found.models) == 1000


@pytest.mark.parametrize(
    "name",
    [
        "nomic-embed-text:latest", "text-embedding-3-small", "mxbai-embed-large", "bge-m3",
        "BAAI/bge-reranker-v2-m3", "jina-reranker-v2", "whisper-large-v3", "all-minilm:33m",
        "intfloat/e5-large", "Alibaba-NLP/gte-Qwen2", "tts-1-hd", "qwen3-embedding:8b", "dall-e-3",
        "text-embedding-nomic-embed-text-v1.5", "gpt-4o-transcribe", "omni-moderation-latest",
        "snowflake-arctic-embed2", "Qwen/Qwen3-Reranker-8B", "sora-2", "flux.1-dev",
    ],
)  # fmt: skip
def test_models_that_answer_no_questions_are_left_out(name: str) -> None:
    assert answering([name, "qwen3:8b"]) == ["qwen3:8b"]


@pytest.mark.parametrize(
    "name",
    [
        "qwen3:8b", "llama3.2:latest", "/models/gemma-3.gguf", "Qwen/Qwen3-8B", "gpt-oss:20b",
        "mistral", "deepseek-r1:7b", "phi4", "minicpm-v", "asrar-7b", "clipper-8b", "tts2sql-7b",
    ],
)  # fmt: skip
def test_models_that_do_are_kept(name: str) -> None:
    assert answering([name]) == [name]


def test_the_first_model_of_the_first_server_that_has_one() -> None:
    empty, embeds = LocalServer("a", "u", ()), LocalServer("b", "u", ("bge-m3",))
    has = LocalServer("c", "u", ("bge-m3", "one", "two"))
    assert choose_model([empty, embeds, has]) == (has, "one")
    assert choose_model([empty, embeds]) is None and choose_model([]) is None


def test_the_default_addresses_are_this_machines() -> None:
    assert len(DEFAULT) == 4 and all(url.startswith("http://127.0.0.1:") for url in DEFAULT)


def test_where_nobody_listens_nothing_is_imported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code = (
        "import sys; from abyme.models.local import find_local;"
        f"assert find_local(['http://127.0.0.1:{port}/v1'] * 4, 10) == [];"
        "assert not {'http.client', 'aiohttp', 'asyncio', 'ssl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ})


def test_an_endpoint_is_asked_with_its_key(serve: Callable[[Play], Server]) -> None:
    server = serve(listing("m"))
    assert models_at(server.url, "sk-1") == ("m",)
    assert b"Authorization: Bearer sk-1\r\n" in server.requests[0]
    assert models_at(server.url + "?api-version=1") == ("m",)
    assert server.requests[1].startswith(b"GET /v1/models?api-version=1 HTTP/1.1\r\n")
    assert b"uthorization" not in server.requests[1]
    models_at(server.url.replace("http://", "http://us%65r:pass@"), "sk-1")
    assert b"Authorization: Basic dXNlcjpwYXNz\r\n" in server.requests[2]
    assert b"sk-1" not in server.requests[2] and b"@" not in server.requests[2]


@pytest.mark.parametrize(
    ("play", "key", "kind", "line"),
    [
        (reply(b"", "401 No"), "sk-1", AuthError, "does not accept the key (401)"),
        (reply(b"", "403 No"), None, AuthError, "wants a key (403)"),
        (reply(b"", "404 No"), None, BadReply, "has no list of models (404)"),
        (reply(b"", "302 Found", "Location: http://x/\r\n"), "k", BadReply, "no list of models"),
        (reply(b"<html>"), None, BadReply, "has no list of models (200)"),
        (hang, None, EndpointError, "does not answer within 1 s"),
        (drip_body, None, EndpointError, "does not answer within 1 s"),
        (drip_head, None, EndpointError, "does not answer within 1 s"),
        (
            lambda connection, request: connection.sendall(b"SSH-2.0\r\n"),
            None, EndpointError, "it does not speak HTTP (BadStatusLine)",
        ),
    ],
)  # fmt: skip
def test_why_an_endpoint_lists_nothing_is_said(
    serve: Callable[[Play], Server], play: Play, key: str | None, kind: type[Exception], line: str
) -> None:
    server = serve(play)
    with pytest.raises(kind) as caught:
        models_at(server.url.replace("http://", "http://us:er@"), key, 1.0)
    assert line in str(caught.value) and "us:er" not in str(caught.value)


def test_an_endpoint_that_is_not_there() -> None:
    with pytest.raises(EndpointError, match=r"cannot reach http://127.0.0.1:9/v1: connection ref"):
        models_at("http://127.0.0.1:9/v1")
    with pytest.raises(EndpointError, match="cannot reach https://127"):
        models_at("https://127.0.0.1:9/v1")


def test_a_certificate_that_is_not_trusted_is_not_accepted(
    serve: Callable[[Play], Server],
) -> None:
    server = serve(reply(b""))
    with pytest.raises(EndpointError, match="cannot reach https"):
        models_at(server.url.replace("http:", "https:"), "sk-1")
    assert server.requests[0][:1] == b"\x16" and ssl.OPENSSL_VERSION


def test_a_proxy_is_used_as_it_is_for_calls(
    serve: Callable[[Play], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(listing("m"))
    address = proxy.url.removesuffix("/v1")
    monkeypatch.setenv("http_proxy", address.replace("http://", "http://us:er@"))
    monkeypatch.setenv("https_proxy", address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert models_at("http://models.invalid/v1", "sk-1") == ("m",)
    assert proxy.requests[0].startswith(b"GET http://models.invalid/v1/models HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXM6ZXI=" in proxy.requests[0]
    with pytest.raises(EndpointError):
        models_at("https://models.invalid/v1", "sk-1")
    assert proxy.requests[1].startswith(b"CONNECT models.invalid:443 HTTP/1.")
    assert b"sk-1" not in proxy.requests[1], "the proxy does not see the key"
