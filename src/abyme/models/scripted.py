"""A model that says what it was told to say: for tests, for docs, for runs that cost nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from abyme.errors import ConfigError, ModelError
from abyme.models.base import OnText, Request
from abyme.threads import in_thread
from abyme.types import Reply, Usage

Answering = Callable[[Request], "str | Reply"]
Scriptable = str | Reply | BaseException | Answering
"""One reply: its text, the whole of it, an exception to raise, or what makes any of these."""
Script = Sequence[Scriptable] | Answering
SubScript = Script | Mapping[str, Scriptable]

SEPARATOR = "=== reply ==="
"""The line between two replies of a text file. It is no Markdown and no Python."""


class Scripted:
    """Plays root and sub-model from a script.

    ``replies``: a list, or one callable for all. The root's reply is the one whose number is the
    count of assistant messages in the request: no state, so that one script serves many runs at
    once and a run that is resumed.

    ``sub``: what calls from code get. A list in order of arrival (the one part with state); a
    callable; or a mapping whose first key that is part of the prompt decides. Without ``sub``
    a callable ``replies`` answers these too.

    ``children``: what drives the REPLs of children: by part of the question that a child is asked,
    each a list of replies as the root has one. Without it a child says what the root says.

    Callables run in threads of their own. ``latency``: seconds before each reply. Usage is counted
    as a token for four characters. A script that has no reply left raises
    :class:`~abyme.errors.ModelError`, never retried.
    """

    endpoint = ""
    window = 1_000_000
    max_output = 4096

    def __init__(
        self,
        replies: Script,
        sub: SubScript | None = None,
        *,
        children: Mapping[str, Script] | None = None,
        latency: float = 0.0,
        name: str = "scripted",
    ) -> None:
        if isinstance(replies, str) or isinstance(sub, str):
            raise TypeError("replies are a list of strings or a callable, not one string")
        self.name = name
        self._replies = replies
        self._sub = replies if sub is None and callable(replies) else sub
        self._children = children
        self._latency = latency
        self._sub_calls = 0

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Scripted:
        """A script from a file.

        ``.json``: a list of strings (the root's replies), or ``{"root": […], "sub": […]}`` where
        ``sub`` may also be an object from part of a prompt to reply. Beside these ``children``: an
        object from part of a child's question to the list of its replies. Any other file: the
        root's replies as text, with a line ``=== reply ===`` between two; the line breaks beside
        that line do not belong to the replies.

        Raises :class:`~abyme.errors.ConfigError` where it is missing or not of that shape.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"cannot read the script {file}: {reason}") from error
        script = _parse_json(file, text) if file.suffix == ".json" else _File(_split(text))
        if not script.root:
            raise ConfigError(f"the script {file} has no reply in it")
        return cls(script.root, script.sub, children=script.children, name=f"scripted:{file}")

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """The scripted reply to ``request``; raises what the script says, or that it is over."""
        choice = self._choose(request)  # before any await: sub-calls count in order of arrival
        if self._latency:
            await asyncio.sleep(self._latency)
        if callable(choice):
            choice = await in_thread(choice, request)  # it may block: the engine must not
        if isinstance(choice, BaseException):
            raise choice
        reply = choice if isinstance(choice, Reply) else _counted(request, choice)
        if on_text is not None:
            for line in reply.text.splitlines(keepends=True):
                on_text(line)
        return reply

    async def close(self) -> None:
        """Nothing to release."""

    def _choose(self, request: Request) -> Scriptable:
        if request.purpose == "root":
            turn = sum(message.role == "assistant" for message in request.messages)
            if request.depth and self._children is not None:
                return self._numbered(self._of_child(self._children, request), turn, "a child")
            return self._numbered(self._replies, turn, "the root")
        if self._sub is None:
            raise ModelError(f"{self.name} has no replies for calls from code")
        if isinstance(self._sub, Mapping):
            return self._matching(self._sub, request)
        self._sub_calls += 1
        return self._numbered(self._sub, self._sub_calls - 1, "calls from code")

    def _numbered(self, script: Script, number: int, whom: str) -> Scriptable:
        if callable(script):
            return script
        if number < len(script):
            return script[number]
        raise ModelError(
            f"{self.name} has {len(script)} replies for {whom}; this is request {number + 1}"
        )

    def _of_child(self, children: Mapping[str, Script], request: Request) -> Script:
        told = next((message.text for message in request.messages if message.role == "user"), "")
        for part, script in children.items():
            if part in told:
                return script
        raise ModelError(f"{self.name} has no replies for a child that is told {told[:60]!r}")

    def _matching(self, script: Mapping[str, Scriptable], request: Request) -> Scriptable:
        prompt = "\n".join(message.text for message in request.messages)
        for part, choice in script.items():
            if part in prompt:
                return choice
        raise ModelError(f"{self.name} has no reply for a call whose prompt begins {prompt[:60]!r}")


def _counted(request: Request, text: str) -> Reply:
    usage = Usage(max(1, request.characters // 4), max(1, len(text) // 4), calls=1)
    return Reply(text, usage)


def _split(text: str) -> list[str]:
    """The replies of a text file: what lies between lines that are exactly ``SEPARATOR``."""
    replies: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if line.rstrip() == SEPARATOR:
            replies.append([])
        else:
            replies[-1].append(line)
    texts = ["".join(lines).strip("\r\n") for lines in replies]
    return [reply for reply in texts if reply]


class _File(NamedTuple):
    """What a file has of a script."""

    root: list[str]
    sub: list[str] | dict[str, str] | None = None
    children: dict[str, list[str]] | None = None


def _parse_json(file: Path, text: str) -> _File:
    try:
        script: Any = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"the script {file} is not JSON: {error}") from error
    parts = script if isinstance(script, dict) else {"root": script}
    root: Any = parts.get("root")
    sub: Any = parts.get("sub")
    children: Any = parts.get("children")
    sub_texts = list(sub.values()) if isinstance(sub, dict) else sub
    is_right = not {*parts} - {"root", "sub", "children"} and _texts(root)
    is_right = is_right and (sub is None or _texts(sub_texts))
    if not is_right or not (children is None or _lists_of_texts(children)):
        raise ConfigError(
            f'the script {file} must be a list of strings, or {{"root": […], "sub": […]}}, '
            f'beside them "children": {{"part of a question": […]}}'
        )
    return _File(root, sub, children)


def _lists_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_texts, value.values()))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
