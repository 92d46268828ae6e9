"""The cells that a model would write, fixed: by the question and the turn, nothing else.

A question is ``study`` and a program's settings as JSON. The stub that plays the model finds them
in the request and replies with the cell of that turn. Sub-calls get a count and filler of about a
hundred tokens, so that a run's answer shows whether every part was read once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

PART = 4_000
"""Characters of data that one sub-call reads: 1,000 of the stub's tokens."""
_REPLY_CHARACTERS = 400
_THOUGHT_CHARACTERS = 500
_QUESTION = re.compile(r"Question:\nstudy (\{.*?\})$", re.M)
_SENTENCE = "The part tells of one event, at the quay, and names who was there. "
_THOUGHT = (
    "I know what the data looks like by now, so the next step is plain: cut it into equal parts, "
    "have each part read on its own, keep every reply in a variable, and only then look at them. "
)

Settings = Mapping[str, Any]


def question(settings: Settings) -> str:
    """The question that asks for a program with these settings."""
    return f"study {json.dumps(settings)}"


def reply(messages: list[dict[str, Any]]) -> str:
    """What the simulated model says to these messages."""
    if messages[0]["role"] != "system":
        return padded("1 ", _SENTENCE, _REPLY_CHARACTERS)
    found = _QUESTION.search(messages[1]["content"])
    assert found is not None, messages[1]["content"][:2000]
    settings = json.loads(found[1])
    turn = sum(message["role"] == "assistant" for message in messages)
    cells = PROGRAMS[settings["program"]](settings)
    code = cells[min(turn, len(cells) - 1)]
    return f"{padded('', _THOUGHT, _THOUGHT_CHARACTERS)}\n```repl\n{code}\n```"


def padded(text: str, filler: str, size: int) -> str:
    """``text`` and as much filler as makes it ``size`` characters long."""
    return (text + filler * (size // len(filler) + 1))[:size]


_CUT = """\
parts = [context[i * {part}:(i + 1) * {part}] for i in range({calls})]
prompts = [f"Part {{i}}. How many events does it tell of? A number first.\\n{{p}}" \
for i, p in enumerate(parts)]
"""
_ADD_UP = "total = sum(int(each.split()[0]) for each in found)\nprint(total)"
_WORK = """\
import time
until = time.perf_counter() + {work}
while time.perf_counter() < until:
    sum(range(1000))
print("the tables are made")"""
"""Computing in a cell, as a program that parses or joins tables does."""

_WAYS = {
    "sequential": "found = [llm_query(each) for each in prompts]",
    "batched": "found = llm_query_batched(prompts)",
    "gathered": (
        "import asyncio\nfound = await asyncio.gather(*(allm_query(each) for each in prompts))"
    ),
}


def _at_once(settings: Settings) -> list[str]:
    """Calls in the first turn; where ``work`` is asked for, computing in the second."""
    asked = _CUT.format(part=PART, **settings) + _WAYS[settings["program"]] + "\n" + _ADD_UP
    return [asked, *_work(settings), "FINAL(total)"]


def _jobs(settings: Settings) -> list[str]:
    """The same calls begun in the first turn and fetched in the last."""
    begun = _CUT.format(part=PART, **settings) + "job = llm_start(prompts)\nprint(job)"
    fetched = f"found = job.results()\n{_ADD_UP}\nFINAL(total)"
    return [begun, *_work(settings), fetched]


def _work(settings: Settings) -> list[str]:
    return [_WORK.format(work=settings["work"])] if settings["work"] else []


def _whole(settings: Settings) -> list[str]:
    """Depth 0: one prompt holds all of the data."""
    asked = (
        "found = llm_query('How many events does this tell of? A number first.\\n' + context)\n"
        "print(found.split()[0])"
    )
    return [asked, "FINAL(int(found.split()[0]))"]


def _tree(settings: Settings) -> list[str]:
    """A node that cuts its data in ``branching`` parts: for children, for sub-calls at the end."""
    branching, depth = settings["branching"], settings["depth"]
    cut = (
        f"size = len(context) // {branching}\n"
        f"parts = [context[i * size:(i + 1) * size] for i in range({branching})]\n"
    )
    if depth == 1:
        asked = (
            'prompts = [f"How many events does this tell of? A number first.\\n{each}" '
            "for each in parts]\nfound = llm_query_batched(prompts)"
        )
    else:
        below = question({**settings, "depth": depth - 1})
        asked = f"found = rlm_query_batched({below!r}, parts)"
    return [f"{cut}{asked}\n{_ADD_UP}", "FINAL(str(total))"]


def _sizes(settings: Settings) -> list[str]:
    """Looking through data of any size: length, search, sub-calls on samples, children on all."""
    below = question({"program": "count"})
    return [
        "n = len(context)\nprint(n)",
        "found = grep('quay-7777')\nprint(len(found))",
        f"step = max({PART}, n // {settings['calls']})\n"
        f"parts = [context[i:i + {PART}] for i in range(0, n - {PART} + 1, step)]\n"
        "prompts = [f'How many events does this tell of?\\n{each}' for each in parts]\n"
        "found = llm_query_batched(prompts)\n" + _ADD_UP,
        f"k = {settings['children']}\n"
        "ends = [n * i // k for i in range(k + 1)]\n"
        f"counts = rlm_query_batched({below!r}, [context[a:b] for a, b in zip(ends, ends[1:])])\n"
        "print(counts)",
        "FINAL([total, sum(int(each) for each in counts)])",
    ]


def _count(settings: Settings) -> list[str]:
    return ["seen = context.count('\\n')\nprint(seen)", "FINAL(str(seen))"]


PROGRAMS: dict[str, Callable[[Settings], list[str]]] = {
    **dict.fromkeys(_WAYS, _at_once),
    "jobs": _jobs,
    "whole": _whole,
    "tree": _tree,
    "sizes": _sizes,
    "count": _count,
}
