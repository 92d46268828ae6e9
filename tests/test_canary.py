"""No byte of the data outside what was shown reaches a request of the root."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from support.runs import cell, scripted_rlm

ATTEMPTS = {
    "print": "print(context)",
    "echo": "context",
    "raise": "raise ValueError(context)",
    "key": "{}[context]",
    "assert": "assert not context, context",
    "chain": "try: 1/0\nexcept ZeroDivisionError as e: raise KeyError(context) from e",
    "variable": "copy = context[:]; parts = context.split('\\n'); d = {context: context}",
    "variable name": "globals()[context] = 1",
    "type name": "v = type(context[:200_000], (), {})()",
    "exception name": "raise type(context[:200_000], (Exception,), {})(context)",
    "syntax": "compile(context, context[:9000], 'exec')",
    "eval": "eval(context)",
    "exit": "import sys; sys.exit(context)",
    "stderr": "import sys; sys.stderr.write(context)",
    "descriptor": "import os; os.write(2, context.encode())",
    "many prints": "for line in context.splitlines(): print(line)",
    "many variables": "for line in context.splitlines()[10_000:]: globals()['v' + line[9:]] = 1",
    "call error": "llm_query(context * 50)",
    "held": "print(1)\nanswer['content'] = context\nFINAL('x')",
    "final var": "FINAL_VAR(context + ' ')\n1/0",
    "quote": "FINAL('x', quotes=[context + 'no'])",
    "failed calls": "r = llm_query_batched([context[:100_000] + str(i) for i in range(30)])",
    "many cells": "```\n```repl\nprint(context)\n" * 40,
    "tool": "boom(context)",
    "lost names": "import os\nfor i in range(300): globals()[f'n{i}' + context] = i\nos._exit(1)",
}

chance = random.Random(7)
LINES = [f"{n} {chance.getrandbits(64):016x}" for n in range(80_000)]
TEXT = "\n".join(LINES)
CANARIES = {line.split()[1] for line in LINES[10_000:70_000]}
"""Words far from the head, the tail, and every spot that a head-and-tail cut may show."""


def boom(text: str) -> None:
    """Fail with all that it was given."""
    raise RuntimeError(text)


@pytest.mark.parametrize("code", ATTEMPTS.values(), ids=ATTEMPTS)
@pytest.mark.parametrize("kind", ["text", "documents"])
def test_the_middle_of_the_data_never_reaches_the_root(runs: Path, code: str, kind: str) -> None:
    context: Any = TEXT
    if kind == "documents":
        context = {f"doc {n}": TEXT for n in range(2)}
        code = "context = context[0]\n" + code
    seen: list[str] = []

    def root(request: Any) -> str:
        seen.extend(message.text for message in request.messages if message.role == "user")
        return cell(code) if len(request.messages) == 2 else cell("FINAL('done')")

    def sub(request: Any) -> str:
        raise RuntimeError(request.messages[0].text)

    rlm = scripted_rlm(runs, root, sub=sub, tools=[boom])
    answer = rlm.completion("what?", context)
    assert answer.turns >= 2, answer.reason
    for message in seen:
        assert len(message) < 21_000
        leaked = [word for word in message.split() if word.strip("'\",)(:[]}") in CANARIES]
        assert not leaked, leaked[:3]
