"""Chat completions as they come back, whole or in pieces, made into a Reply."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import msgspec

from abyme.errors import BadReply, ModelError
from abyme.models.base import Request
from abyme.models.http_errors import Endpoint, refused_within
from abyme.models.quoting import shorten
from abyme.types import Reply, Usage

CHARACTERS_PER_TOKEN = 4
"""For estimates, where the endpoint does not count. Close for English, low for other scripts."""
_MOST_TOKENS = 1 << 30
"""What is more is no count: no window and no bill of one call comes near it."""

_CUT = {"length", "max_tokens", "model_length", "model_context_window_exceeded"}
"""How OpenAI, Anthropic's gateways, Mistral and Z.ai say that the reply was cut."""


def estimate_tokens(characters: int) -> int:
    """Tokens that so many characters are about, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


class Completion:
    """One chat completion, filled by :meth:`add` with its body or with the chunks of its stream."""

    def __init__(self, endpoint: Endpoint, request: Request) -> None:
        self.finish = ""
        """Why the endpoint stopped ("stop", "length", …); "" as long as it has not said so."""
        self._endpoint = endpoint
        self._request = request
        self._pieces: list[str] = []
        self._refusal: list[str] = []
        self._reasoning = 0
        self._calls_tool = False
        self._usage: dict[str, Any] = {}
        self._model = ""
        self._free_at = 0.0

    def hold(self, seconds: float | None) -> None:
        """The head of the reply says that nothing more is taken for ``seconds`` from now on."""
        if seconds:
            self._free_at = time.monotonic() + seconds

    def add(self, data: bytes, part: Literal["message", "delta"]) -> str:
        """Take in a body (``message``) or a chunk (``delta``); returns the text that it adds.

        Raises the ModelError that an ``error`` in it stands for; BadReply for what is no JSON
        object, and for a body without choices.
        """
        payload = self._decode(data)
        if payload.get("error"):
            raise refused_within(self._endpoint, payload["error"])
        if isinstance(payload.get("model"), str):
            self._model = payload["model"]
        self._usage = _dict(payload.get("usage")) or self._usage
        choice = _first_choice(payload)
        if choice is None:
            if part == "message":
                raise self.bad("sent a reply without choices", data)
            return ""
        return self._add_choice(choice, part)

    def reply(self) -> Reply:
        """The whole reply. Raises BadReply where there is no text in it, saying why."""
        text = _joined(self._pieces)
        if self.finish == "content_filter":
            raise self._final("was withheld by the provider's content filter")
        if not text.strip():
            raise self._empty()
        usage = self._counted(len(text))
        pause = max(0.0, self._free_at - time.monotonic()) if self._free_at else 0.0
        return Reply(text, usage, self.finish in _CUT, self._model, pause)

    def bad(self, what: str, data: bytes) -> BadReply:
        """A BadReply that quotes the beginning of ``data``: "URL ``what``: …"."""
        said = self._endpoint.quote(data[:4096].decode("utf-8", "replace"))
        return BadReply(shorten(f'{self._endpoint.url} {what}: "{said}"'))

    def _decode(self, data: bytes) -> dict[str, Any]:
        try:
            payload = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            payload = _with_surrogates(data)
        if payload is None:
            what = "an HTML page" if data.lstrip()[:1] == b"<" else "something that is not JSON"
            raise self.bad(f"sent {what}", data)
        if not isinstance(payload, dict):
            raise self.bad("sent JSON that is no chat completion", data)
        return payload

    def _add_choice(self, choice: dict[str, Any], part: str) -> str:
        if choice.get("error"):
            raise refused_within(self._endpoint, choice["error"])
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]
        # Some servers end a stream with a whole message, which would double the text: not read.
        message = _dict(choice.get(part))
        piece = _text(message.get("content"))
        self._pieces.append(piece)
        self._refusal.append(_text(message.get("refusal")))
        thought = message.get("reasoning_content") or message.get("reasoning")
        self._reasoning += len(_text(thought))
        self._calls_tool = self._calls_tool or bool(message.get("tool_calls"))
        return piece

    def _empty(self) -> ModelError:
        """Why there is no text, as well as it can be known."""
        if refusal := "".join(self._refusal).strip():
            return self._final(f'is a refusal: "{self._endpoint.quote(refusal)}"')
        if self.finish in _CUT:
            spent = "by reasoning " if self._reasoning else ""
            return self._final(f"was used up {spent}before any text; raise max tokens")
        if self.finish == "error":
            return refused_within(self._endpoint, "the endpoint ended its reply with an error")
        if self._calls_tool:
            return BadReply(self._of_model("calls a tool, though none was offered"))
        if self._reasoning:
            return BadReply(self._of_model("is reasoning but no text; raise max tokens"))
        return BadReply(self._of_model("is empty"))

    def _final(self, what: str) -> BadReply:
        """A BadReply that the same request would only meet (and pay for) again."""
        failure = BadReply(self._of_model(what))
        failure.retryable = False
        return failure

    def _of_model(self, what: str) -> str:
        return shorten(f'the reply of "{self._endpoint.model}" {what}')

    def _counted(self, characters: int) -> Usage:
        """The endpoint's own count; estimates, marked, for what it does not say.

        Zero counts as not said: some servers put zeros where they do not count.
        """
        said = self._usage
        sent, received = _count(said.get("prompt_tokens")), _count(said.get("completion_tokens"))
        details = _dict(said.get("prompt_tokens_details"))
        # OpenAI and most; DeepSeek; Moonshot.
        cached = (
            _count(details.get("cached_tokens"))
            or _count(said.get("prompt_cache_hit_tokens"))
            or _count(said.get("cached_tokens"))
        )
        estimated = not sent or not received
        sent = sent or estimate_tokens(self._request.characters)
        received = received or estimate_tokens(characters + self._reasoning)
        return Usage(sent, received, min(cached, sent), 1, estimated)


def _first_choice(payload: dict[str, Any]) -> dict[str, Any] | None:
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    return choices[0] if choices[0].get("index") in (0, None) else None


def _text(content: Any) -> str:
    """Content as a string, or as a list of parts of which the text ones count."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "".join(part for part in parts if isinstance(part, str))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    """A number of tokens; 0 for whatever is none, or more than one call can have."""
    counts = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS
    return value if counts else 0


def _with_surrogates(data: bytes) -> Any:
    """``data`` as JSON that escapes half a character, as servers do that cut a stream in two.

    None where it is no JSON at all. The halves of a pair are joined where their texts are.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _joined(pieces: list[str]) -> str:
    text = "".join(pieces)
    if text.isascii():
        return text
    # The two halves of a character that came in two pieces become one again.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
