"""The built-in reader: a model without a neural network, for who has none at hand.

It drives the same loop, sandbox and journal as any model. As root it writes cells that count, or
search the data, put the passages found before the sub-model, and quote the best of them. As
sub-model it copies out the lines of a passage that bear on the question. It finds words, not
meanings; it demonstrates the engine and makes nothing up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

from abyme.models.asking import NEXT, asked
from abyme.models.base import OnText, Request
from abyme.models.passages import Query, search_text, telling
from abyme.threads import in_thread
from abyme.types import Message, Reply, Usage

NOTHING = "NOTHING"
"""What the sub-model replies where no line of its root's passage bears on the question."""
WHAT_IT_IS = (
    "This is Abyme's built-in reader, not a language model: it copies out the sentences of a given "
    "text that share the words of a question. Nothing in this prompt does."
)
_FAR_WORSE = 0.6  # part of the best extract's score below which another is left out
_IN_A_THREAD = 50_000  # characters of a prompt that to read would hold up the event loop

# What the engine's messages look like; the tests hold these against the dialect.
_QUESTION = re.compile(r"Question:\n(.*)\n\nThe data:\n", re.DOTALL)
_RAN = re.compile(r"Cell \d+ ran\.")
_LAST_MESSAGE = re.compile(r"^This is the last message: .*No code will be run any more\.$", re.M)
_FENCED = re.compile(r"^(`{3,})\n.*?\n\1$", re.DOTALL | re.M)
_OUTPUT = re.compile(r"^Output \([\d,]+ characters\):\n(`{3,})\n(.*?)\n\1$", re.DOTALL | re.M)

# The prompts that the cell of the step "read" writes.
_HEAD = r"\AQuestion: (?P<question>.*)\nPlaces with each word: (?P<places>.*)\n.*\n"
_ONE_PASSAGE = re.compile(_HEAD + r"Passage \(.*, line \d+\):\n(?P<passage>(?s:.*))\Z")
_EXTRACTS = re.compile(_HEAD + r"(?P<extracts>Extract 1 \((?s:.*))\Z")
_EXTRACT = re.compile(r"^Extract (\d+) \((.*), line \d+\):\n((?:\| .*(?:\n|\Z))*)", re.M)
_ASKED = re.compile(r"^\W*(?:question|query|task)\W*:\s*(.+?)(?:\n\s*\n|\Z)", re.I | re.M | re.S)


class Reader:
    """Plays root and sub-model by word search, without state; a token is four characters."""

    name = "reader"
    endpoint = ""
    window = 1_000_000
    max_output = 4096

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """The next step of the conversation, or the answer to a prompt; it never fails."""
        answer = drive if request.purpose == "root" else read
        long = request.characters > _IN_A_THREAD
        text = await in_thread(answer, request.messages) if long else answer(request.messages)
        kept = text if request.max_tokens is None else text[: 4 * request.max_tokens]
        if on_text is not None:
            for line in kept.splitlines(keepends=True):
                on_text(line)
        usage = Usage(max(1, request.characters // 4), max(1, len(kept) // 4), calls=1)
        return Reply(kept, usage, cut=len(kept) < len(text))

    async def close(self) -> None:
        """Nothing to release."""


def drive(messages: Sequence[Message]) -> str:
    """The root's next reply: a sentence and a cell, or plain text where no code is run."""
    opening, *told = [message.text for message in messages if message.role == "user"] or [""]
    if told and _LAST_MESSAGE.search(_FENCED.sub("", told[-1])):
        seen = [found[2] for message in told if (found := _OUTPUT.search(message))]
        last = seen[-1] if seen else "nothing: it ended before anything was read."
        return f"The run ended before there was an answer. Seen last:\n{last}"
    found = _QUESTION.search(opening)
    question = " ".join((found[1] if found else opening).split())
    if len(question) > 2_000:
        question = f"{question[:1_000]} … {question[-1_000:]}"
    form = asked(question)
    step = form.step
    for message in told:  # the way that the turns so far have taken, gone again
        ran, failed = NEXT.get(step, ("give_up", "give_up"))
        step = ran if _RAN.match(message) else failed
    longest = sorted(re.findall(r"\w+", question), key=len, reverse=True)[:3]
    filled = {
        **form._asdict(),
        "question": question,
        "query": search_text(question),
        "telling": telling(question),
        "words": "|".join(longest) or re.escape(question),
        "sides": {side: search_text(side) for side in form.sides},
        "nothing": NOTHING,
    }
    literals = {name: repr(value) for name, value in filled.items()}
    return _reply(step).substitute(literals, reason=_error(told))


def _error(told: Sequence[str]) -> str:
    """The last line of the last traceback, or what else the last cell that failed came to."""
    failed = [message for message in told if not _RAN.match(message)]
    lines = re.findall(r"^\w[\w.]*(?:Error|Exception|Exit)\b.*", "\n".join(failed), re.M)
    return (lines or failed or ["no reason is known"])[-1].partition("\n")[0][:300]


@cache
def _reply(step: str) -> Template:
    """A packaged reply; ``$name`` stands for what is filled in, as a Python literal in code."""
    file = resources.files("abyme.models") / "reader_replies" / f"{step}.md"
    return Template(file.read_text(encoding="utf-8"))


def read(messages: Sequence[Message]) -> str:
    """The sub-model's answer to a prompt: of the root's own two kinds, or of anyone's."""
    prompt = "\n\n".join(message.text for message in messages)
    if found := _ONE_PASSAGE.match(prompt) or _EXTRACTS.match(prompt):
        places = re.findall(r"(\S+) (\d+)(?:,|$)", found["places"])
        query = Query(found["question"], {word: int(count) for word, count in places})
        if found.re is _EXTRACTS:
            return _ordered(query, found["extracts"])
        return query.copied(found["passage"]) or NOTHING
    question, passage = _question_and_text(prompt)
    return Query(question).copied(passage) or WHAT_IT_IS


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
    """What a prompt of unknown form asks, and about what: the paragraph marked as a question, or
    the first where it alone ends in a question mark, or the last."""
    if marked := list(_ASKED.finditer(prompt)):
        last = marked[-1]
        return last[1], prompt[: last.start()] + prompt[last.end() :]
    first, _, rest = prompt.strip().partition("\n\n")
    before, _, last_one = prompt.strip().rpartition("\n\n")
    asks = first.rstrip().endswith("?") and not last_one.rstrip().endswith("?")
    return (first, rest) if asks else (last_one, before)
