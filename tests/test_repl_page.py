"""docs/repl.md says what the REPL has: its names, their signatures, and examples that run."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from abyme import RLM, Limits
from abyme.config import ChildLimits
from abyme.events import CellEnded, CellStarted
from abyme.inside.documents import Documents
from abyme.inside.jobs import Job
from abyme.inside.results import Results
from abyme.inside.text import LazyText
from abyme.subcalls.tools import RESERVED
from support.repl import run_cell
from support.runs import cell, events_of, of_kind
from support.stub import Stub, StubRequest

PAGE = (Path(__file__).parents[1] / "docs" / "repl.md").read_text(encoding="utf-8")
NAMES = """
import inspect, types
for name, value in list(globals().items()):
    if name.startswith("_") or isinstance(value, types.ModuleType): continue
    plain = isinstance(value, type) and issubclass(value, Exception)
    mark = "async " if inspect.iscoroutinefunction(inspect.unwrap(value)) else ""
    called = callable(value) and not plain
    print(repr((name, f"{mark}{name}{inspect.signature(value)}" if called else "")))
"""
METHODS = ((Job, "job"), (Documents, "context"), (LazyText, "t"), (Results, "results"))
"""Values with methods that a ``list`` or ``str`` has not, and what the page calls such a value."""
OURS = {"loaded", "document", "line_at_byte", "span_bytes", "re_split", "from_frames"}
"""Methods of these that are not for code in the REPL."""
ELSEWHERE = {"history"}
"""Names that only some REPLs have."""


class Example(NamedTuple):
    code: str
    printed: str | None


def examples() -> list[Example]:
    found = re.findall(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", PAGE, re.M | re.S)
    return [Example(code, printed or None) for code, printed in found]


def signatures() -> list[str]:
    """The lines of the fences that name no language."""
    blocks = re.findall(r"^(```[a-z]*)\n(.*?)^```$", PAGE, re.M | re.S)
    return [line for fence, text in blocks if fence == "```" for line in text.splitlines()]


def headings() -> list[str]:
    """The names that the page has a section, or a part of one, about."""
    return [
        n for line in re.findall(r"^### (.*)$", PAGE, re.M) for n in re.findall("`(.+?)`", line)
    ]


def of_values() -> set[str]:
    """The signatures of what values of the REPL can do, as the page has them."""
    told: set[str] = set()
    for kind, called in METHODS:
        usual = {name for base in (str, list, tuple, dict) for name in dir(base)}
        for name in set(dir(kind)) - usual - OURS:
            if name.startswith("_"):
                continue
            value = getattr(kind, name)
            if isinstance(value, property):
                assert value.fget is not None
                told.add(f"{called}.{name} -> {inspect.signature(value.fget).return_annotation}")
            else:
                said = str(inspect.signature(value)).replace("(self, ", "(").replace("(self)", "()")
                told.add(f"{called}.{name}{said}".replace("'", ""))
    return told


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The names of a worker's namespace, with the signatures of those that are called."""
    folder = tmp_path_factory.mktemp("names")
    result = run_cell(folder, NAMES, context={"a.txt": "a", "b.txt": "b"})
    assert result.error is None, result.error
    return dict(ast.literal_eval(line) for line in result.output.splitlines())


def test_every_name_is_there_and_no_other(there: dict[str, str]) -> None:
    assert len(headings()) == len(set(headings()))
    assert set(headings()) == set(there) | ELSEWHERE
    assert set(there) <= RESERVED  # a tool cannot take the place of one


def test_every_signature_is_there_and_no_other(there: dict[str, str]) -> None:
    called = {said.replace("'", "") for said in there.values() if said}
    assert set(signatures()) == called | of_values()
    assert len(signatures()) == len(set(signatures()))


def test_the_text_calls_nothing_that_there_is_not(there: dict[str, str]) -> None:
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.M | re.S)
    known = {*there, *(f"{kind}.{name}" for value, kind in METHODS for name in dir(value))}
    known |= {"len", "re.search"}
    for name in re.findall(r"`([\w.]+)\(", prose):
        assert name in known, name


def model(prompt: str) -> str:
    """The sub-model of the examples."""
    if lines := re.findall(r"^(\d+): ((\w+): .*)$", prompt, re.M):
        said = ({"speaker": who, "leak": "leak" in text} for _, text, who in lines)
        return "\n".join(f"{n}: {json.dumps(s)}" for (n, *_), s in zip(lines, said, strict=True))
    return {"How": "2", "Who": "Ada"}.get(prompt[:3], "")


def child(asked: str) -> str:
    """What a child of the examples does."""
    if "Never finish." in asked:
        return cell("answer['content'] = 'half an answer'")
    if "How many lines?" in asked:
        return cell("FINAL(sum(len(text.splitlines()) for text in context.values()))")
    return cell("FINAL(context.partition(':')[0])")


def test_the_examples_do_what_the_page_says(runs: Path) -> None:
    data = json.loads(re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S)[0])
    shown = examples()

    def answer(request: StubRequest) -> str:
        if request.messages[0]["role"] != "system":
            return model(request.prompt)
        asked = request.messages[1]["content"]
        if not (number := re.search(r"Question:\nexample (\d+)", asked)):
            return child(asked)
        turn = sum(message["role"] == "assistant" for message in request.messages)
        return cell(shown[int(number[1])].code if turn == 0 else "FINAL('done')")

    limits = Limits(max_depth=2, max_seconds=100, children=(ChildLimits(max_turns=1),))
    with Stub(answer) as stub:
        rlm = RLM("m", base_url=stub.url, api_key="k", runs=runs, limits=limits)
        with rlm.session(data) as session:
            answers = [session.ask(f"example {number}") for number in range(len(shown))]
    assert all(each.status == "complete" for each in answers), [each.reason for each in answers]
    events = events_of(runs, answers[0])
    outputs = {e.cell: e.result.output for e in of_kind(events, CellEnded) if e.node == "0"}
    begun = {e.code.strip(): e.cell for e in of_kind(events, CellStarted) if e.node == "0"}
    for example in shown:
        assert outputs[begun[example.code.strip()]] == (example.printed or ""), example.code


def test_each_section_has_an_example() -> None:
    for section in PAGE.split("\n### ")[1:]:
        assert "```python\n" in section, section.partition("\n")[0]
