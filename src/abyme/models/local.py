"""Model servers on this machine: who answers, and what they serve.

The standard library asks, since this comes before anything else is imported: no proxy, no redirect,
no key, and an end in time whatever a server does. What answers may be any program that listens on
such a port, so all that it says is hostile text.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec

from abyme.errors import AuthError, BadReply, EndpointError
from abyme.models.quoting import excerpt, public_url, shown_url

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from abyme.models.proxies import Proxy

KNOWN = {11434: "Ollama", 1234: "LM Studio", 8080: "llama.cpp", 8000: "vLLM"}
"""The ports that model servers listen on where nobody says otherwise."""
DEFAULT = tuple(f"http://127.0.0.1:{port}/v1" for port in KNOWN)

_MAX_BYTES = 1 << 20
_MAX_MODELS = 1000
_MAX_NAME = 200
_OTHER_USE = re.compile(
    r"(?:^|[^a-z])(?:embed\w*|rerank\w*|whisper|parakeet|tts|asr|stt|kokoro|dall-e|flux|sdxl"
    r"|stable-diffusion|clip|siglip|bge|gte|e5|minilm|all-minilm|colbert|moderation|transcribe"
    r"|realtime|audio|image|sora)(?![a-z0-9])",
    re.IGNORECASE,
)
"""Names of models that answer no questions: embeddings, rerankers, speech, images."""


class LocalServer(msgspec.Struct, frozen=True):
    """A server that answers as model servers do."""

    name: str
    """"Ollama", …: who is usually on this port; host and port elsewhere."""
    url: str
    """The base URL, "/v1" included."""
    models: tuple[str, ...]


def find_local(urls: Sequence[str] = DEFAULT, timeout: float = 0.5) -> list[LocalServer]:
    """Those of ``urls`` that a model server answers, in their order, within ``timeout`` seconds."""
    asked = [_Asking(url, {}, timeout) for url in urls]
    deadline = time.monotonic() + timeout
    for asking in asked:
        asking.thread.start()
    return [
        LocalServer(_name(asking.url), public_url(asking.url), models)
        for asking in asked
        if (models := asking.models_until(deadline)) is not None
    ]


def choose_model(servers: Iterable[LocalServer]) -> tuple[LocalServer, str] | None:
    """The first server that has a model to ask, and that model; None where there is none."""
    for server in servers:
        for model in answering(server.models):
            return server, model
    return None


def answering(models: Iterable[str]) -> list[str]:
    """Those of ``models`` that answer questions, as far as their names tell."""
    return [model for model in models if not _OTHER_USE.search(model)]


def models_at(url: str, key: str | None = None, timeout: float = 5.0) -> tuple[str, ...]:
    """The models that the endpoint ``url`` serves; ``key`` is sent as it is with calls.

    ``url`` and ``key`` are such that :func:`abyme.models.registry.resolve` takes them.
    Raises a :class:`ModelError` where it refuses, does not answer in time, or has no such list.
    """
    from abyme.models.proxies import proxy_for

    asking = _Asking(url, _identity(urlsplit(url), key), timeout, proxy_for(url))
    asking.thread.start()
    models = asking.models_until(time.monotonic() + timeout)
    if models is not None:
        return models
    where = shown_url(url)
    if asking.late:
        raise EndpointError(f"{where} does not answer within {timeout:g} s")
    if asking.status in (401, 403):
        about = "does not accept the key" if key else "wants a key"
        raise AuthError(f"{where} {about} ({asking.status})", status=asking.status)
    if asking.status is not None:
        raise BadReply(f"{where} has no list of models ({asking.status})", status=asking.status)
    raise EndpointError(f"cannot reach {where}: {asking.failure}")


class _Asking:
    """One request for a list of models, in a thread of its own that its deadline ends."""

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout: float, proxy: Proxy | None = None
    ) -> None:
        self.url = url
        self.status: int | None = None
        self.failure = ""
        self.late = False
        self.thread = threading.Thread(target=self._ask, name="abyme-models", daemon=True)
        self._headers = {"User-Agent": "abyme", "Accept": "application/json", **headers}
        self._timeout = timeout
        self._proxy = proxy
        self._models: tuple[str, ...] | None = None
        self._connection: HTTPConnection | None = None

    def models_until(self, deadline: float) -> tuple[str, ...] | None:
        """The models; None where no list of them has come by ``deadline``."""
        self.thread.join(max(0.0, deadline - time.monotonic()))
        if self.thread.is_alive():
            self.late = True
            # A server that drips would keep it for ever: each byte comes within the timeout.
            if self._connection is not None and self._connection.sock is not None:
                with contextlib.suppress(OSError):
                    self._connection.sock.shutdown(socket.SHUT_RDWR)
            return None
        return self._models

    def _ask(self) -> None:
        try:
            self._models = self._read()
        except TimeoutError:
            self.late = True
        except OSError as error:
            self.failure = excerpt(getattr(error, "strerror", None) or str(error)).lower()
        except Exception as error:  # what is not HTTP fails in many ways, and all mean the same
            self.failure = f"it does not speak HTTP ({type(error).__name__})"
        finally:
            if self._connection is not None:
                self._connection.close()

    def _read(self) -> tuple[str, ...] | None:
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        path = f"{parts.path.rstrip('/')}/models"
        headers = {"Host": host, "Connection": "close", **self._headers}
        scheme, address = "", ""
        if self._proxy and not self._proxy.tunnels:
            scheme, address = parts.scheme, host
            headers.update(self._proxy.headers)
        target = urlunsplit((scheme, address, path, parts.query, ""))
        self._connection = self._open(parts)
        self._connection.request("GET", target, headers=headers)
        with self._connection.getresponse() as reply:
            self.status = reply.status
            body = reply.read(_MAX_BYTES + 1)
        return _models_in(body) if self.status == 200 and len(body) <= _MAX_BYTES else None

    def _open(self, parts: SplitResult) -> HTTPConnection:
        through = urlsplit(self._proxy.url) if self._proxy else parts
        host, port = through.hostname or "", _port(through)
        if parts.scheme == "http":
            # Before the import, which takes 15 ms: where nobody listens nothing is spent.
            connected = socket.create_connection((host, port), self._timeout)
            from http.client import HTTPConnection

            connection = HTTPConnection(host, port, timeout=self._timeout)
            connection.sock = connected
            return connection
        from http.client import HTTPSConnection

        secure = HTTPSConnection(host, port, timeout=self._timeout)
        if self._proxy:
            secure.set_tunnel(parts.hostname or "", _port(parts), self._proxy.headers)
        return secure


class _Model(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Model] | None
    """None: Ollama, where it has no model yet."""


def _models_in(body: bytes) -> tuple[str, ...] | None:
    """The ids in a list of models; None where ``body`` is none.

    A name that cannot be written in a command or shown in a line is left out.
    """
    try:
        listed = msgspec.json.decode(body, type=_List)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    names = dict.fromkeys(model.id for model in listed.data or ())
    usable = (name for name in names if 0 < len(name) <= _MAX_NAME and _is_plain(name))
    return tuple(itertools.islice(usable, _MAX_MODELS))


def _is_plain(name: str) -> bool:
    return name.isprintable() and " " not in name


def _identity(parts: SplitResult, key: str | None) -> dict[str, str]:
    """The headers that say who asks, as :mod:`abyme.models.openai` sends them."""
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    if not key:
        return {}
    azure = (parts.hostname or "").endswith(".azure.com")
    return {"Authorization": f"Bearer {key}", **({"api-key": key} if azure else {})}


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _name(url: str) -> str:
    parts = urlsplit(url)
    usual = KNOWN.get(_port(parts)) if parts.hostname in ("127.0.0.1", "localhost") else None
    return usual or f"{parts.hostname}:{_port(parts)}"
