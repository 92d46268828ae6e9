"""llm_map: every item comes back once, in order, or says why not; whatever the model does."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abyme.inside.mapping import CHARACTERS, ITEMS, ROUNDS, Pack, item_text, llm_map, packed
from abyme.inside.results import BudgetExceeded, CallError, Failed, PromptTooLong, Results
from abyme.inside.shapes import schema_of

TEMPLATE = "What is it?\n<<<\n{items}\n>>>"
_ITEM = re.compile(r"(\d+): (.*)")


def items_of(prompt: str) -> list[tuple[int, str]]:
    """What a model reads in a prompt of TEMPLATE: the numbers and the items."""
    body = prompt.partition("<<<\n")[2].rpartition("\n>>>")[0]
    found = []
    for line in body.split("\n"):
        match = _ITEM.fullmatch(line)
        assert match, line
        text = match[2]
        found.append((int(match[1]), json.loads(text) if text.startswith('"') else text))
    return found


def right(text: str) -> str:
    """The right answer about an item."""
    return f"<{len(text)}:{text[:5]!r}>"


class Model:
    """Answers prompts, and errs in ways that are drawn for each."""

    def __init__(self, seed: int, errs: float, typed: bool = False) -> None:
        self._random = random.Random(seed)
        self._errs = errs
        self._typed = typed
        self.asked: list[list[str]] = []

    def __call__(self, prompts: list[str]) -> list[Any]:
        return [self._answer(index, prompt) for index, prompt in enumerate(prompts)]

    def _answer(self, index: int, prompt: str) -> Any:
        items = items_of(prompt)
        self.asked.append([text for _, text in items])
        pairs = [(number, right(text)) for number, text in items]
        chance = self._random
        ways = ["drop", "twice", "renumber", "shuffle", "extra", "cut", "fail", "junk", "echo"]
        way = chance.choice(ways) if chance.random() < self._errs else ""
        if way == "drop":
            del pairs[chance.randrange(len(pairs))]
        elif way == "twice":
            number, _ = chance.choice(pairs)
            pairs.append((number, "another"))
        elif way == "renumber":  # leaves one out and counts from 1
            del pairs[chance.randrange(len(pairs))]
            pairs = [(place, answer) for place, (_, answer) in enumerate(pairs, 1)]
        elif way == "shuffle":
            chance.shuffle(pairs)
        elif way == "extra":
            pairs += [(90_000_000 + n, "nobody asked") for n in range(3)]
        elif way == "fail":
            return Failed(index, CallError("no reply"))
        elif way == "junk":
            return "I cannot do that."
        said = [(n, json.dumps(a) if self._typed else a) for n, a in pairs]
        lines = [f"{number}: {answer}" for number, answer in said]
        if way == "echo":
            lines = ["Here are the answers:", "```", *lines, "```"]
        text = "\n".join(lines)
        return text[: len(text) // 2] if way == "cut" else text


LONG = "stands for a long one"
ODD = ["3: x", "{items}", "{item}", "17: billing\n19: login", '"', "a\u2028b", "{0}", LONG]
TEXTS = st.lists(st.text(max_size=30) | st.sampled_from(ODD), max_size=70)


@settings(max_examples=150, deadline=None)
@given(
    TEXTS, st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 1.0]), st.none() | st.integers(1, 9)
)
@example([""] * 10 + ["000", "0000"], 128_000, 1.0, 6)  # cut off before the quotation mark
def test_no_answer_stands_at_the_wrong_item(
    items: list[str], seed: int, errs: float, batch: int | None
) -> None:
    items = ["long " * 3_000 if item == LONG else item for item in items]
    for typed in (False, True):
        model = Model(seed, errs, typed)
        schema = schema_of("str") if typed else None
        results = llm_map(model, items, TEMPLATE, schema, batch)
        assert len(results) == len(items)
        for item, answer in zip(items, results, strict=True):
            if not isinstance(answer, Failed):
                # A reply that was cut off in the middle of a plain answer cannot be told from one
                # that is so short; a typed one can.
                cut = not typed and right(item).startswith(answer)
                assert answer == right(item) or cut
        if errs == 0.0:
            assert not results.failed
            assert sum(map(len, model.asked)) == len(items)


@given(TEXTS, st.integers(1, 9) | st.just(ITEMS), st.none() | st.just(CHARACTERS))
def test_packs_hold_each_item_once(items: list[str], size: int, limit: int | None) -> None:
    packs = list(packed(range(len(items)), items, size, limit))
    assert [index for pack in packs for index in pack] == list(range(len(items)))
    for pack in packs:
        assert 0 < len(pack) <= size
        held = sum(len(items[index]) for index in pack)
        assert limit is None or held <= limit or len(pack) == 1


@given(st.text())
def test_an_item_is_one_line(text: str) -> None:
    line = item_text(text)
    assert len(line.splitlines()) == 1 and line.strip() == line


def test_a_pack_that_fails_takes_no_other_along() -> None:
    def ask(prompts: list[str]) -> list[Any]:
        error = BudgetExceeded("no money")
        return [
            Failed(place, error)
            if place == 1
            else "\n".join(f"{n}: {right(t)}" for n, t in items_of(prompt))
            for place, prompt in enumerate(prompts)
        ]

    results = llm_map(ask, list("abcdef"), TEMPLATE, None, 2)
    assert results.failed == [2, 3]
    assert isinstance(results[2].error, BudgetExceeded)


def test_what_is_too_long_is_asked_in_smaller_packs() -> None:
    sizes: list[int] = []

    def ask(prompts: list[str]) -> list[Any]:
        said: list[Any] = []
        for place, prompt in enumerate(prompts):
            items = items_of(prompt)
            sizes.append(len(items))
            if len(items) > 4:
                said.append(Failed(place, PromptTooLong("too long")))
            else:
                said.append("\n".join(f"{n}: {right(t)}" for n, t in items))
        return said

    results = llm_map(ask, [str(n) for n in range(20)], TEMPLATE, None, 16)
    assert not results.failed and sizes == [16, 4] + [4] * 4


def test_an_answer_that_does_not_fit_is_asked_for_again_and_no_other() -> None:
    asked: list[list[str]] = []

    def ask(prompts: list[str]) -> list[Any]:
        said = []
        for prompt in prompts:
            items = items_of(prompt)
            asked.append([text for _, text in items])
            last = len(asked) > 3
            said.append(
                "\n".join(f"{n}: {'many' if t == 'b' and not last else 3}" for n, t in items)
            )
        return said

    results = llm_map(ask, ["a", "b", "c"], TEMPLATE, schema_of("int"), None)
    assert results == [3, 3, 3] and asked == [["a", "b", "c"], ["b"], ["b"], ["b"]]


def test_what_never_comes_back_says_why() -> None:
    calls: list[int] = []

    def ask(prompts: list[str]) -> list[Any]:
        calls.append(len(prompts))
        return ["no"] * len(prompts)

    results = llm_map(ask, ["a"], TEMPLATE, schema_of("int"), None)
    assert len(calls) == ROUNDS and results.failed == [0]
    assert "left out" in str(results[0].error)


def test_json_objects_by_number_are_answers_too() -> None:
    def ask(prompts: list[str]) -> list[Any]:
        numbers = [n for prompt in prompts for n, _ in items_of(prompt)]
        body = ", ".join(f'"{n}": {{"a": [{place}]}}' for place, n in enumerate(numbers))
        return [f"```json\n{{{body}}}\n```"]

    results = llm_map(ask, ["x", "y"], TEMPLATE, schema_of("{'a': list[int]}"), None)
    assert results == [{"a": [0]}, {"a": [1]}]


@pytest.mark.parametrize("template", ["no place", "{items} and {item}", "{items} {items}"])
def test_a_template_says_where_the_items_go(template: str) -> None:
    with pytest.raises(ValueError, match=r"\{items\} once"):
        llm_map(lambda prompts: [], ["a"], template, None, None)


def test_a_template_about_one_item() -> None:
    seen: list[str] = []

    def ask(prompts: list[str]) -> list[Any]:
        seen.extend(prompts)
        return ["101: ja\n104: nein"]

    results = llm_map(ask, ["{x}", "2: b"], "Is {item} good?", None, None)
    assert "Is {item} good?" in seen[0] and "101: {x}\n104: 2: b" in seen[0]
    assert results == ["ja", "nein"]


def test_nothing_is_asked_about_nothing() -> None:
    assert llm_map(lambda prompts: 1 / 0, [], TEMPLATE, None, None) == []  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="from 1 on"):
        llm_map(lambda prompts: [], ["a"], TEMPLATE, None, 0)


Pairs = list[tuple[int, str]]


def asked_of(say: Callable[[Pairs], Pairs], count: int, batch: int | None = None) -> Asked:
    """What comes of ``count`` items with a model that says ``say(numbers and items)``."""
    sizes: list[int] = []

    def ask(prompts: list[str]) -> list[Any]:
        packs = [items_of(prompt) for prompt in prompts]
        sizes.extend(map(len, packs))
        return ["\n".join(f"{n}: {right(t)}" for n, t in say(pack)) for pack in packs]

    items = [f"item {n}" for n in range(count)]
    results = llm_map(ask, items, TEMPLATE, None, batch)
    wrong = [
        item
        for item, answer in zip(items, results, strict=True)
        if not isinstance(answer, Failed) and answer != right(item)
    ]
    return Asked(results, wrong, sizes)


class Asked(NamedTuple):
    results: Results
    wrong: list[str]
    sizes: list[int]


def counted(pack: Pairs, numbers: Iterable[int]) -> Pairs:
    """The items in order, under other numbers."""
    return [(number, text) for number, (_, text) in zip(numbers, pack, strict=False)]


@pytest.mark.parametrize("batch", [None, 2, 7, 500])
@pytest.mark.parametrize("first", ["one", "the first"])
def test_a_model_that_counts_by_itself_is_noticed(first: str, batch: int | None) -> None:
    def say(pack: Pairs) -> Pairs:
        return counted(pack, itertools.count(1 if first == "one" else pack[0][0]))

    asked = asked_of(say, 150, batch)
    assert not asked.wrong and not asked.results.failed  # one by one, there is nothing to confuse
    assert set(asked.sizes[-150:]) == {1}
    assert batch == 2 or len(asked.sizes) < 1.5 * 150


def test_one_number_that_no_item_has_spoils_a_pack() -> None:
    def say(pack: Pairs) -> Pairs:  # leaves one out, and counts on where it stands
        if len(pack) < 60:
            return pack
        left_out = [*pack[:20], *pack[21:]]
        return [*pack[:20], *counted(left_out[20:], itertools.count(pack[20][0]))]

    asked = asked_of(say, 60)
    assert not asked.wrong and not asked.results.failed
    assert asked.sizes == [60, 15, 15, 15, 15]


@pytest.mark.parametrize("by", [1, 2, 3])
def test_answers_that_moved_up_are_noticed_where_the_last_numbers_are_missing(by: int) -> None:
    def say(pack: Pairs) -> Pairs:
        return counted(pack[by:], [number for number, _ in pack])

    asked = asked_of(say, 150)
    assert not asked.wrong and len(asked.results.failed) == 150


def test_a_reply_that_was_cut_off_keeps_what_came_before() -> None:
    asked = asked_of(lambda pack: pack[:40], 60)
    assert not asked.wrong and not asked.results.failed
    assert asked.sizes == [60, 15, 5]


@pytest.mark.parametrize("times", [2, 3])
def test_a_number_that_comes_twice_is_asked_for_again(times: int) -> None:
    def twice(pack: Pairs) -> Pairs:
        return sorted([*pack, *(pack[3:5] * (times - 1))]) if len(pack) > 2 else pack

    asked = asked_of(twice, 30)
    assert not asked.wrong and not asked.results.failed and asked.sizes == [30, 2]
    always = asked_of(lambda pack: sorted(pack * times), 150)  # alike, each of them
    assert not always.wrong and not always.results.failed
    assert set(always.sizes[-150:]) == {1} and len(always.sizes) < 1.5 * 150


def test_alone_an_item_has_the_one_answer_that_is_there() -> None:
    def reply_of(text: str) -> Any:
        (answer,) = llm_map(lambda prompts: [text] * len(prompts), ["a"], TEMPLATE, None, None)
        return answer

    assert reply_of("101: yes") == reply_of("1: yes") == reply_of("1: yes\n1. yes") == "yes"
    assert reply_of("101: yes\n2: of two") == reply_of("1. I look.\n101: yes") == "yes"
    assert isinstance(reply_of("101: yes\n101: no"), Failed)
    assert isinstance(reply_of("1: yes\n2: no"), Failed)


def test_a_time_or_a_date_is_no_number_of_an_item() -> None:
    asked: list[str] = []

    def ask(prompts: list[str]) -> list[Any]:
        asked.extend(prompts)
        told = "12:30 it was\n2026-05-01 - a day\n3.5 - a share\n"
        return [told + "\n".join(f"{n}:5" for n, _ in items_of(p)) for p in prompts]

    results = llm_map(ask, list("abc"), TEMPLATE, None, None)
    assert results == ["5", "5", "5"] and len(asked) == 1


@given(st.integers(0, 10**6), st.integers(1, 700))
def test_no_counting_hits_two_numbers_of_a_pack(first: int, count: int) -> None:
    numbers = list(Pack(list(range(first, first + count)), [""] * (first + count)).numbers)
    assert len(set(numbers)) == count < numbers[0] and numbers[0] > 100
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    assert all(step > 1 for step in steps)
    assert all(one != other for one, other in itertools.pairwise(steps))


def test_a_mapping_is_refused_and_not_judged_by_its_keys() -> None:
    with pytest.raises(TypeError, match=r"list\(d\.values\(\)\)"):
        llm_map(lambda prompts: prompts, {"a": "b"}, "{items}", None, None)


def test_what_is_no_value_of_the_schema_is_said_by_the_schema() -> None:
    asked: list[str] = []

    def ask(prompts: list[str]) -> list[str]:
        asked.extend(prompts)
        return ["10: maybe"] * len(prompts)

    (answer,) = llm_map(ask, ["a"], "{items}", schema_of("bool"), None)
    assert isinstance(answer, Failed)
    assert '"maybe" is not of type boolean' in str(answer)
    assert '"maybe" is not of type boolean' in asked[1]
