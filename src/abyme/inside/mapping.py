"""``llm_map``: the same question about many items, many of them in each prompt.

Items go into prompts under numbers, and come back one line an item, ``number: answer``. The
numbers are such that a model which counts by itself, from 1 or from the first one on, comes upon a
number that no item has: then it may have renumbered the others too, and nothing of its reply is
taken. What did not come back exactly once, or does not fit, is asked for again in smaller packs,
at last one by one; what is there is never asked for twice.

Numbers cannot show that a model put a right number before the answer for another item. Where its
answers moved up by an item or a few, the last numbers are missing, and nothing of it is taken
either; where it wrote a line for those too, only the answers themselves could tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .codec import read_value
from .replies import fenced_parts, read_reply
from .results import CallError, Failed, PromptTooLong, Results
from .schema import Misfit, Schema

ITEMS = 60
"""Items of a pack, at most, where the caller does not say how many."""
CHARACTERS = 24_000
"""Of the items of a pack, but for one that is longer by itself."""
ROUNDS = 4
"""How often an item is asked about, at most."""
_SHRINKS = 4
_GAPS = (3, 7, 2, 9, 4, 8, 5)
"""From one number to the next: never 1, and not the same twice in a row."""
_LEAST = 100
"""All numbers are higher, and higher than their pack has items."""
_MOVED = 3
"""Where no more of the last numbers are missing, and nothing else is, answers may have moved up."""
_LINE = re.compile(
    r"[\s>*\-`|\[(]*(?:item\s+)?#?(\d{1,9})[\])`*]*\s*[:.)=\u2192|-]+[ \t]*(.*)", re.I
)
_FIGURE = re.compile(r"\W*\d+[:.,/-]\d")
"""How a line begins with a time, a date or a decimal, and not with a number of an item."""

Ask = Callable[[list[str]], Sequence[Any]]


def llm_map(
    ask: Ask, items: Iterable[Any], template: str, schema: Schema | None, batch: int | None
) -> Results:
    """The answers in the order of ``items``, a :class:`Failed` where none came back.

    ``ask`` puts prompts to a model, and gives its replies in order or a ``Failed``. ``template``
    holds ``{items}``, where the numbered items go, or ``{item}``, where it speaks of one item.
    """
    if isinstance(items, Mapping):
        raise TypeError(
            "llm_map takes a list, and of a mapping it would judge the keys alone: hand over "
            'list(d.values()), or [f"{name}: {text}" for name, text in d.items()]'
        )
    texts = [item_text(item) for item in items]
    write = _writer(template, schema)
    size = ITEMS if batch is None else batch
    if size < 1:
        raise ValueError(f"batch is the number of items in a prompt, from 1 on, not {batch}")
    limit = CHARACTERS if batch is None else None
    answers: dict[int, Any] = {}
    whys: dict[int, str] = {}
    failed: dict[int, Exception] = {}
    missing = list(range(len(texts)))
    for left in reversed(range(ROUNDS)):
        if not missing:
            break
        packs = [Pack(part, texts) for part in packed(missing, texts, size, limit)]
        replies = ask([write(pack, whys) for pack in packs])
        for pack, reply in zip(packs, replies, strict=True):
            if isinstance(reply, Failed):
                failed |= dict.fromkeys(pack.indices, reply.error)
            else:
                pack.read(reply, schema, answers, whys)
        missing = [
            i for i in missing if i not in answers and _again(failed.pop(i, None), i, failed)
        ]
        size = max(1, size // _SHRINKS) if left > 1 else 1
        limit = CHARACTERS // _SHRINKS
    return Results(
        answers[index]
        if index in answers
        else Failed(index, failed.get(index) or _left(whys, index))
        for index in range(len(texts))
    )


def _again(error: Exception | None, index: int, failed: dict[int, Exception]) -> bool:
    """Whether to ask about an item again whose pack failed with ``error``, or was answered."""
    if error is None:
        return True
    failed[index] = error
    return isinstance(error, PromptTooLong)


def _left(whys: dict[int, str], index: int) -> CallError:
    return CallError(f"no answer came back for it: {whys.get(index, 'it was left out')}")


class Pack:
    """Some of the items, by their indices, under the numbers that they have in one prompt."""

    def __init__(self, indices: list[int], texts: Sequence[str]) -> None:
        self.indices = indices
        self._texts = texts
        numbers = _numbers(indices[0], len(indices))
        self.numbers = {next(numbers): index for index in indices}

    def __str__(self) -> str:
        return "\n".join(f"{n}: {self._texts[index]}" for n, index in self.numbers.items())

    def read(
        self, reply: str, schema: Schema | None, answers: dict[int, Any], whys: dict[int, str]
    ) -> None:
        """Take from ``reply`` what came back exactly once and fits; say why of the others."""
        found: dict[int, list[Any]] = {}
        for number, said in said_by_number(reply, self.numbers):
            found.setdefault(number, []).append(said)
        if len(self.indices) == 1:
            found = self._alone(found)
        elif why := self._confused(found):
            whys |= dict.fromkeys(self.indices, why)
            return
        for number, index in self.numbers.items():
            said = found.get(number, [])
            if not said:
                whys[index] = "it was left out"
            elif len(said) > 1:
                whys[index] = "its number came back more than once"
            else:
                try:
                    answers[index] = _fitting(said[0], schema)
                except Misfit as error:
                    whys[index] = f"its answer does not fit: {str(error)[:300]}"

    def _confused(self, found: dict[int, list[Any]]) -> str:
        """Why no number of a reply says for sure which item is meant; "" where they do."""
        if unknown := [str(number) for number in found if number not in self.numbers]:
            return f"the reply used numbers that no item has: {', '.join(unknown[:5])}"
        there = [number in found for number in self.numbers]
        missing = there.count(False)
        if 0 < missing <= _MOVED and any(there) and not any(there[-missing:]):
            return "the last numbers were missing, so that the answers before may have moved up"
        return ""

    def _alone(self, found: dict[int, list[Any]]) -> dict[int, list[Any]]:
        """What a reply says of the one item that it is about, whatever number stands before it.

        Said several times alike it is one answer.
        """
        (number,) = self.numbers
        said = found.get(number) or [each for several in found.values() for each in several]
        return {number: said[:1] if all(each == said[0] for each in said) else said}


def _fitting(said: Any, schema: Schema | None) -> Any:
    if schema is None:
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        if not text.strip():
            raise Misfit("it is empty")
        return text.strip()
    if isinstance(said, str):
        return read_reply(said, schema)
    schema.check(said)
    return said


def _numbers(first: int, count: int) -> Iterator[int]:
    """Growing numbers for ``count`` items, other ones for packs that begin with another item."""
    number = max(_LEAST, count) + 1 + first % 17
    place = first
    while True:
        yield number
        number += _GAPS[place % len(_GAPS)]
        place += 1


def said_by_number(reply: str, known: Container[int] = ()) -> Iterator[tuple[int, Any]]:
    """``number: answer`` of each line; of a reply that is one JSON object, its entries.

    A line that begins with a time or the like is none, unless a number of ``known`` begins it.
    """
    for part in (reply, *fenced_parts(reply)):
        if (pairs := _pairs(part)) is not None:
            yield from pairs
            return
    for line in reply.split("\n"):
        found = _LINE.match(line.strip())
        if found and (said := found.group(2).strip()):  # else it was cut off, or left open
            number = int(found.group(1))
            if number in known or not _FIGURE.match(line):
                yield number, _unquoted(said)


def _pairs(text: str) -> list[tuple[int, Any]] | None:
    """The entries of ``{"12": …}``, those under the same number too."""
    text = text.strip()
    if not text.startswith("{"):
        return None
    try:
        read_value(text)  # it is JSON as we take it
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    plain = [(str(key), read_value(json.dumps(_objects(value)))) for key, value in pairs]
    if not all(key.strip().isdecimal() and len(key) < 10 for key, _ in plain):
        return None
    return [(int(key), value) for key, value in plain]


def _objects(value: Any) -> Any:
    """Lists of pairs as the objects that they were."""
    if isinstance(value, list):
        if value and all(isinstance(pair, tuple) for pair in value):
            return {key: _objects(item) for key, item in value}
        return [_objects(item) for item in value]
    return value


def _unquoted(said: str) -> str:
    """A text that stands in quotation marks as a whole, without them."""
    if len(said) > 1 and said.startswith('"') and said.endswith('"'):
        try:
            value = read_value(said)
        except ValueError:
            return said
        if isinstance(value, str):
            return value
    return said


# -- prompts ---------------------------------------------------------------------------------------


def item_text(item: Any) -> str:
    """An item on one line: a text with line breaks, or one in quotation marks, as a JSON string."""
    if isinstance(item, str) and _is_plain(item):
        return item
    written = json.dumps(item, ensure_ascii=False, default=str)
    for line_break in "\x85\u2028\u2029":  # JSON leaves these as they are
        written = written.replace(line_break, f"\\u{ord(line_break):04x}")
    return written


def _is_plain(text: str) -> bool:
    return len(text.splitlines()) == 1 and text == text.strip() and text[0] != '"'


def packed(
    indices: Sequence[int], texts: Sequence[str], size: int, limit: int | None
) -> Iterator[list[int]]:
    """``indices`` in order, at most ``size`` in a pack and ``limit`` characters of their texts."""
    pack: list[int] = []
    held = 0
    for index in indices:
        more = len(texts[index])
        if pack and (len(pack) == size or (limit is not None and held + more > limit)):
            yield pack
            pack, held = [], 0
        pack.append(index)
        held += more
    if pack:
        yield pack


def _writer(template: str, schema: Schema | None) -> Callable[[Pack, dict[int, str]], str]:
    """What makes the prompt of a pack. Raises ``ValueError`` for a template without a place."""
    if not isinstance(template, str):
        raise TypeError(f"the template must be a str, not {type(template).__name__}")
    whole = "{items}" in template
    if whole == ("{item}" in template) or template.count("{items}") > 1:
        raise ValueError(
            "the template needs {items} once, where the numbered items go, or {item}, where it "
            "speaks of one of them"
        )
    form = "in plain text on that one line"
    if schema is not None:
        form = f"as JSON on that one line, which fits this JSON schema: {schema.text}"

    def write(pack: Pack, whys: dict[int, str]) -> str:
        count = len(pack.indices)
        items = str(pack)
        if whole:
            head, _, tail = template.partition("{items}")
            asked = f"{head}{items}{tail}"
        else:
            asked = (
                "Do what follows for each of the numbered items below by itself; the item stands "
                f"where it says {{item}}:\n\n{template}\n\nThe items:\n{items}"
            )
        again = next((whys[index] for index in pack.indices if index in whys), "")
        if again:
            again = f"\n(Asked again, because of an earlier answer for such an item: {again}.)"
        one = "the one item" if count == 1 else f"each of the {count} items"
        first = next(iter(pack.numbers))
        return (
            f"{asked}\n\nAnswer with exactly one line for {one} and nothing else: the item's own "
            f"number as it stands above, a colon, and the answer, {form}. Number {first} comes "
            f"first; do not renumber. An item in quotation marks is a JSON string.{again}"
        )

    return write
