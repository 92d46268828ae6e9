"""OpenAI's chat completions, the dialect that nearly every model server speaks."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec

from abyme.errors import BadReply, ConfigError, EndpointError
from abyme.models.adapting import Parameters
from abyme.models.base import OnText, Request
from abyme.models.chat import Completion
from abyme.models.http_errors import Endpoint, read_refusal, refused
from abyme.models.quoting import public_url, shorten, shown_url
from abyme.models.rate_limits import used_up
from abyme.models.sse import EventStream
from abyme.models.transport import HttpReply, HttpStream, Transport
from abyme.models.windows import max_output_of, window_of
from abyme.types import Reply

OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_HOST = "api.openai.com"
_MAX_ADAPTATIONS = 5
"""More parameters than that are not optional: then it is the request that is wrong."""


class OpenAIModel:
    """A model behind an OpenAI-compatible endpoint; makes one attempt a call.

    ``base_url``: up to and including ``/v1``; a user and password in it are sent instead of the
    key. ``stream``: stream even where nobody listens, so that a proxy does not cut long replies.
    ``temperature``: None leaves it to the endpoint. ``window``, ``max_output``: in tokens, guessed
    from the name where None. A parameter that the endpoint refuses is dropped or renamed, tried
    again within the same attempt, and remembered as long as this object lives.

    Raises ConfigError for an address or a key that cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str = OPENAI_URL,
        api_key: str | None = None,
        transport: Transport,
        stream: bool = False,
        temperature: float | None = None,
        window: int | None = None,
        max_output: int | None = None,
    ) -> None:
        parts = _parse(base_url)
        hosted = parts.hostname == _OPENAI_HOST
        self._model = name
        self._transport = transport
        self._url = _chat_url(parts)
        self._public = public_url(base_url).rstrip("/")
        self._headers, self._about = _identity(name, shown_url(self._public), parts, api_key)
        self._window = window or window_of(name, hosted=hosted)
        self._max_output = max_output or max_output_of(self._window)
        fields = ("max_tokens", "max_completion_tokens")
        self._parameters = Parameters(
            limit_fields=fields[::-1] if hosted else fields, temperature=temperature
        )
        self._stream = stream

    @property
    def name(self) -> str:
        """ "openai:" and the model's name."""
        return f"openai:{self._model}"

    @property
    def endpoint(self) -> str:
        """The base URL without credentials."""
        return self._public

    @property
    def window(self) -> int:
        """Tokens that fit; a guess where nobody said."""
        return self._window

    @property
    def max_output(self) -> int:
        """The output tokens to ask for at most."""
        return self._max_output

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer ``request``, streamed where ``on_text`` is given; one attempt.

        Raises the ModelError that the endpoint's answer, or the lack of one, stands for.
        """
        adaptations = 0
        while True:
            sent = self._parameters
            reply = await self._ask(request, sent, on_text)
            if isinstance(reply, Reply):
                return reply
            adaptations += 1
            if adaptations > _MAX_ADAPTATIONS or not self._adapt(sent, reply):
                raise refused(self._about, reply.status, reply.headers, reply.body)

    async def close(self) -> None:
        """Nothing to release: the connections are the transport's, which others use too."""

    async def _ask(
        self, request: Request, parameters: Parameters, on_text: OnText | None
    ) -> Reply | HttpReply:
        """The reply, or the endpoint's refusal as it came."""
        streamed = parameters.stream and (self._stream or on_text is not None)
        body = _encode(self._body(request, parameters, streamed))
        completion = Completion(self._about, request)
        if not streamed:
            whole = await self._transport.post_json(self._url, self._headers, body)
            if whole.status >= 300:
                return whole
            completion.hold(used_up(whole.headers))
            text = completion.add(whole.body, "message")
        else:
            async with self._transport.stream(self._url, self._headers, body) as reply:
                if reply.status >= 300:
                    return HttpReply(reply.status, reply.headers, await reply.read())
                completion.hold(used_up(reply.headers))
                if not _is_whole(reply.headers.get("content-type", "")):
                    await self._read_stream(reply, completion, on_text)
                    return completion.reply()
                text = completion.add(await reply.read(), "message")
        finished = completion.reply()
        if on_text is not None:
            on_text(text)
        return finished

    async def _read_stream(
        self, stream: HttpStream, completion: Completion, on_text: OnText | None
    ) -> None:
        events = EventStream()
        head = b""
        while chunk := await self._next_chunk(stream, completion):
            head = head or chunk
            if _take(events.feed(chunk), completion, on_text):
                await stream.drain()
                return
        try:
            done = _take(events.finish(), completion, on_text)
        except BadReply:
            done = False  # half an event
        if head and not events.seen:
            raise completion.bad("sent something that is no stream of events", head)
        if not done and not completion.finish:
            raise EndpointError(
                f"{self._about.url} dropped the connection in the middle of the reply"
            )

    async def _next_chunk(self, stream: HttpStream, completion: Completion) -> bytes:
        try:
            return await stream.read_some()
        except EndpointError:
            if completion.finish:
                return b""  # all was said: only the end of the body is missing
            raise

    def _body(self, request: Request, parameters: Parameters, streamed: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": m.role, "content": m.text} for m in request.messages],
            **parameters.limit(request.max_tokens),
        }
        if parameters.temperature is not None:
            body["temperature"] = parameters.temperature
        if streamed:
            body["stream"] = True
            if parameters.stream_options:
                body["stream_options"] = {"include_usage": True}
        return body

    def _adapt(self, sent: Parameters, reply: HttpReply) -> bool:
        """Learn from a refusal; True where another try has something new to say."""
        if reply.status not in (400, 422):
            return False
        if self._parameters == sent:
            left = sent.without(read_refusal(reply.body))
            # Otherwise a call beside this one was refused, too, and has learned it already.
            if left is not None:
                self._parameters = left
        return self._parameters != sent


def _take(payloads: list[bytes], completion: Completion, on_text: OnText | None) -> bool:
    """Hand the events to ``completion`` and their text to ``on_text``; True at the last event."""
    for payload in payloads:
        if payload.strip() == b"[DONE]":
            return True
        if not payload.strip():
            continue  # a keep-alive of llama.cpp
        piece = completion.add(payload, "delta")
        if piece and on_text is not None:
            on_text(piece)
    return False


def _is_whole(content_type: str) -> bool:
    """Whether a reply does not stream: some gateways do not, whatever they are asked."""
    return "json" in content_type or "html" in content_type


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        # The caller replaces lone surrogates, and counts them; this only keeps a call alive.
        for message in body["messages"]:
            message["content"] = (
                message["content"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            )
        return msgspec.json.encode(body)


def _parse(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        shown = shorten(public_url(base_url), 80)
        raise ConfigError(f'base_url must be like http://127.0.0.1:8000/v1, not "{shown}"')
    return parts


def _chat_url(parts: SplitResult) -> str:
    """Where completions are asked for; a query (Azure's ``api-version``) stays at the end."""
    host = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/") + "/chat/completions"
    return urlunsplit((parts.scheme, host, path, parts.query, ""))


def _identity(
    name: str, url: str, parts: SplitResult, api_key: str | None
) -> tuple[dict[str, str], Endpoint]:
    """The headers that say who asks, and the endpoint as errors may name it."""
    headers = {"Content-Type": "application/json"}
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("api_key holds characters that no key has; was it pasted in part?")
    if parts.username is not None:
        # They belong to this address; the key may be one for another, found in the environment.
        user, password = unquote(parts.username), unquote(parts.password or "")
        key = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {key}"
        return headers, Endpoint(name, url, True, tuple(s for s in (key, password) if s))
    if key:
        headers["Authorization"] = f"Bearer {key}"
        if (parts.hostname or "").endswith(".azure.com"):
            headers["api-key"] = key
    return headers, Endpoint(name, url, bool(key), (key,) if key else ())
