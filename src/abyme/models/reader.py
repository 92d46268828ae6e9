"""The built-in reader: a model without a neural network, for who has none at hand.

It drives the same loop, sandbox and journal as any model. As root it writes cells that search the
data, put the passages found before the sub-model, and hand over the best of them, quoted. As
sub-model it copies out the lines of a passage that bear on the question. It finds words, not
meanings; it demonstrates the engine and makes nothing up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

from abyme.models.base import OnText, Request
from abyme.models.passages import Query, search_text
from abyme.threads import in_thread
from abyme.types import Message, Reply, Usage

NOTHING = "NOTHING"
"""What the sub-model replies where no line of its root's passage bears on the question."""
WHAT_IT_IS = (
    "This is Abyme's built-in reader, not a language model: it copies out the sentences of a given "
    "text that share the words of a question. Nothing in this prompt does."
)
SEARCHED = 32
"""Passages that the first cell searches for."""
_FAR_WORSE = 0.6
"""Part of the best extract's score below which another is left out."""

_NEXT = {
    "look": ("read", "look_simply"),
    "look_simply": ("read", "give_up"),
    "read": ("answer", "answer_plainly"),
    "answer": ("answer_plainly", "answer_plainly"),
    "answer_plainly": ("give_up", "give_up"),
    "give_up": ("give_up", "give_up"),
}
"""Step → the one after it, where its cell ran and where it did not. Every path ends in
``give_up``, a reply without code: three in a row end a run."""

# What the engine's messages look like; the tests hold these against the dialect.
_QUESTION = re.compile(r"Question:\n(.*)\n\nThe data:\n", re.DOTALL)
_RAN = re.compile(r"Cell \d+ ran\.")
_LAST_MESSAGE = "This is the last message:"
_OUTPUT = re.compile(r"^Output \([\d,]+ characters\):\n(`{3,})\n(.*?)\n\1$", re.DOTALL | re.M)

_LONGEST_QUESTION = 2_000
_SHOWN_ERROR = 300
_IN_A_THREAD = 50_000
"""Characters of a prompt from which on reading it would hold up the event loop."""

# The prompts that the cell of the step "read" writes.
_HEAD = r"\AQuestion: (?P<question>.*)\nPlaces with each word: (?P<places>.*)\n.*\n"
_ONE_PASSAGE = re.compile(_HEAD + r"Passage \(.*, line \d+\):\n(?P<passage>(?s:.*))\Z")
_EXTRACTS = re.compile(_HEAD + r"(?P<extracts>Extract 1 \((?s:.*))\Z")
_EXTRACT = re.compile(r"^Extract (\d+) \((.*), line \d+\):\n((?:\| .*(?:\n|\Z))*)", re.M)

_ASKED = re.compile(r"^\W*(?:question|query|task)\W*:\s*(.+?)(?:\n\s*\n|\Z)", re.I | re.M | re.S)


class Reader:
    """Plays root and sub-model by word search. It has no state: a request decides its reply.

    Usage is counted as a token for four characters; it costs nothing.
    """

    name = "reader"
    endpoint = ""
    window = 1_000_000
    max_output = 4096

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """The next step of the conversation, or the answer to a prompt; it never fails."""
        answer = drive if request.purpose == "root" else read
        if request.characters > _IN_A_THREAD:
            text = await in_thread(answer, request.messages)
        else:
            text = answer(request.messages)
        most = len(text) if request.max_tokens is None else 4 * request.max_tokens
        kept = text[:most]
        if on_text is not None:
            for line in kept.splitlines(keepends=True):
                on_text(line)
        usage = Usage(max(1, request.characters // 4), max(1, len(kept) // 4), calls=1)
        return Reply(kept, usage, cut=len(kept) < len(text))

    async def close(self) -> None:
        """Nothing to release."""


# As root


def drive(messages: Sequence[Message]) -> str:
    """The root's next reply: a sentence and a cell, or plain text where no code is run."""
    told = [message.text for message in messages if message.role == "user"] or [""]
    if _LAST_MESSAGE in told[-1]:
        return _from_what_was_printed(told[1:])
    question = _question(told[0])
    query = search_text(question)
    words = sorted(query.split(), key=len, reverse=True)[:3]
    return _reply(_step(told[1:])).substitute(
        question=repr(question),
        query=repr(query),
        pattern=repr("|".join(map(re.escape, words))),
        k=SEARCHED,
        nothing=repr(NOTHING),
        reason=_error(told[1:]),
    )


def _step(told: Sequence[str]) -> str:
    """The step to take now, found by going again the way that the turns so far have taken."""
    step = "look"
    for message in told:
        ran, failed = _NEXT[step]
        step = ran if _RAN.match(message) else failed
    return step


def _question(opening: str) -> str:
    """The question of the first message in one line, without the middle of a very long one."""
    found = _QUESTION.match(opening)
    question = " ".join((found[1] if found else opening).split())
    if len(question) <= _LONGEST_QUESTION:
        return question
    half = _LONGEST_QUESTION // 2
    return f"{question[:half]} … {question[-half:]}"


def _from_what_was_printed(told: Sequence[str]) -> str:
    outputs = [found[2] for message in told if (found := _OUTPUT.search(message))]
    if not outputs:
        return "The run ended before anything was read."
    return f"The run ended before the passages were all read and chosen. Seen last:\n{outputs[-1]}"


def _error(told: Sequence[str]) -> str:
    """The last line of the last traceback, or what else the last cell came to."""
    failed = [message for message in told if not _RAN.match(message)]
    lines = re.findall(r"^\w[\w.]*(?:Error|Exception|Exit)\b.*", "\n".join(failed), re.M)
    reason = (
        lines[-1] if lines else next(iter(failed[-1:]), "no reason is known").partition("\n")[0]
    )
    return reason[:_SHOWN_ERROR]


@cache
def _reply(step: str) -> Template:
    """A packaged reply; ``$name`` stands for what is filled in, as a Python literal in code."""
    folder = resources.files("abyme.models") / "reader_replies"
    return Template((folder / f"{step}.md").read_text(encoding="utf-8"))


# As sub-model


def read(messages: Sequence[Message]) -> str:
    """The answer to a prompt: of the root's own two kinds, or of anyone's."""
    prompt = "\n\n".join(message.text for message in messages)
    if found := _ONE_PASSAGE.match(prompt):
        query = Query(found["question"], _counts(found["places"]))
        return _copied(query, found["passage"]) or NOTHING
    if found := _EXTRACTS.match(prompt):
        query = Query(found["question"], _counts(found["places"]))
        return _ordered(query, found["extracts"])
    question, passage = _question_and_text(prompt)
    return _copied(Query(question), passage) or WHAT_IT_IS


def _counts(places: str) -> dict[str, int]:
    return {word: int(count) for word, count in re.findall(r"(\S+) (\d+)(?:,|$)", places)}


def _copied(query: Query, text: str) -> str:
    best = query.best(text)
    return text[best.start : best.end].strip("\r\n") if best else ""


def _ordered(query: Query, extracts: str) -> str:
    """The numbers of the best extracts, best first; of two as good the one that came first."""
    scores = {
        int(number): query.relevance(document, re.sub(r"^\| ", "", text, flags=re.M))
        for number, document, text in _EXTRACT.findall(extracts)
    }
    least = _FAR_WORSE * max(scores.values(), default=0.0)
    best = sorted(scores, key=lambda number: -scores[number])
    return ", ".join(str(number) for number in best if scores[number] >= least)


def _question_and_text(prompt: str) -> tuple[str, str]:
    """What a prompt of unknown form asks, and about what.

    The last paragraph that is marked as a question; else the first or last paragraph, whichever
    ends in a question mark; else the last.
    """
    if marked := list(_ASKED.finditer(prompt)):
        last = marked[-1]
        return last[1], prompt[: last.start()] + prompt[last.end() :]
    first, gap, rest = prompt.strip().partition("\n\n")
    before, _, last_paragraph = prompt.strip().rpartition("\n\n")
    if gap and first.rstrip().endswith("?") and not last_paragraph.rstrip().endswith("?"):
        return first, rest
    return last_paragraph, before
