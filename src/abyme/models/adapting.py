"""Which parameters an endpoint takes, learned from its refusals.

OpenAI's reasoning models refuse ``max_tokens`` and ``temperature``, older Azure deployments
``max_completion_tokens``, others ``stream_options``: no table of models stays right, but each of
them says what it does not want.
"""

from __future__ import annotations

import re

import msgspec

from abyme.models.http_errors import Refusal, is_about_window

_UNWANTED = re.compile(
    r"unsupported|not supported|does not support|unrecognized|unknown|unexpected|not permitted"
    r"|extra_forbidden|extra fields|only \S+ is allowed|must be verified to stream",
    re.IGNORECASE,
)
_MOST = (
    re.compile(r"at most (\d+)"),  # OpenAI
    re.compile(r"\[\d+, ?(\d+)\]"),  # DeepSeek, Qwen
    re.compile(r"<= ?(\d+)"),  # Doubao
    re.compile(r"max_tokens: \d+ > (\d+)"),  # Anthropic
)
"""How servers name the most output tokens that a model gives."""


class Parameters(msgspec.Struct, frozen=True):
    """The optional parameters that an endpoint is believed to take."""

    limit_fields: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    """Names for the limit of the output, the one in use first; () where none is taken."""
    temperature: float | None = None
    stream: bool = True
    stream_options: bool = True
    max_output: int | None = None
    """The most output tokens that the endpoint has said it gives."""

    def limit(self, wanted: int | None) -> dict[str, int]:
        """The limit of the output as it goes into a request; ``wanted`` None sets none."""
        if wanted is None or not self.limit_fields:
            return {}
        most = wanted if self.max_output is None else min(wanted, self.max_output)
        return {self.limit_fields[0]: most}

    def without(self, refusal: Refusal) -> Parameters | None:
        """The parameters that ``refusal`` leaves; None where it is about something else."""
        if is_about_window(refusal):
            return None
        if self.limit_fields and _names(refusal, self.limit_fields[0]):
            for pattern in _MOST:
                if found := pattern.search(refusal.text):
                    return self._with_output(int(found[1]))
        if not refusal.says(_UNWANTED):
            return None
        if self.limit_fields and _names(refusal, self.limit_fields[0]):
            return msgspec.structs.replace(self, limit_fields=self.limit_fields[1:])
        if self.temperature is not None and _names(refusal, "temperature"):
            return msgspec.structs.replace(self, temperature=None)
        if (
            self.stream
            and self.stream_options
            and _names(refusal, "(stream_options|include_usage)")
        ):
            return msgspec.structs.replace(self, stream_options=False)
        if self.stream and _names(refusal, "stream"):
            return msgspec.structs.replace(self, stream=False)
        return None

    def _with_output(self, most: int) -> Parameters | None:
        if most < 1 or (self.max_output is not None and most >= self.max_output):
            return None
        return msgspec.structs.replace(self, max_output=most)


def _names(refusal: Refusal, parameter: str) -> bool:
    """Whether the refusal is about ``parameter``, a name as a pattern."""
    word = re.compile(rf"\b{parameter}\b")
    # "param" decides where it is given: a message may also name what to use instead.
    return bool(word.search(refusal.param or refusal.text))
