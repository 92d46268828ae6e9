"""The calls that a cell made, as a tree: by function, each with its prompt, reply and figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from abyme.cli.show.page import Line, Piece, Span, Style, line
from abyme.cli.show.values import Call
from abyme.cli.text import children_text, columns, cost_text, fitting, plural, printable

_ALL = 12
"""Calls of one function that are all shown; of more, these many of both ends and what failed."""
_FIRST, _LAST, _FAILED = 5, 3, 10
_MARGIN = "    "
_BATCH, _SHARED = 3, 24
"""Calls of a batch, and characters that their prompts share, from which on these are said once."""
_ARROW = " → "
_ONE_LINE = 120
"""Columns from which on a call's prompt and reply stand on one line, however long they are."""


def call_tree(calls: Sequence[Call], width: int) -> Iterator[Piece]:
    """All calls of a cell in few lines, grouped by function in order of first use."""
    groups: dict[str, list[Call]] = {}
    for call in calls:
        groups.setdefault(call.name, []).append(call)
    for group in groups.values():
        yield _group_head(group)
        yield from _group(group, width)


def calls_in_full(calls: Sequence[Call]) -> Iterator[Piece]:
    """Every call with its whole prompt and reply."""
    for call in calls:
        place = f"call {call.number:,} of {len(calls):,}"
        child = [f"child {call.child}", call.given] if call.child else []
        facts = " · ".join(filter(None, [place, *child, *_facts(call)]))
        yield line((_name([call]), "call"), (f" · {facts}", "dim"), margin="  ")
        yield from (line((note, "bad"), margin=_MARGIN) for note in call.notes)
        what = "question" if call.child else "prompt" if call.model else "arguments"
        if call.asked:
            yield line((f"{what}, {plural(len(call.asked), 'character')}", "dim"), margin=_MARGIN)
            yield from _text(call.asked)
        if call.error:
            yield line((f"✗ {_failure(call)}", "bad"), margin=_MARGIN)
        elif not call.ended:
            yield line((_outcome(call), _style(call)), margin=_MARGIN)
        else:
            what = "answer" if call.child else "reply" if call.model else "value"
            yield line((f"{what}, {plural(len(call.said), 'character')}", "dim"), margin=_MARGIN)
            yield from _text(call.said)


def _group_head(group: Sequence[Call]) -> Line:
    spans: list[Span] = [(_name(group), "call")]
    if len(group) == 1:
        spans.append((_joined([*_facts(group[0]), *group[0].notes]), "dim"))
        return line(*spans, margin=_MARGIN)
    failed = sum(bool(call.error) for call in group)
    in_flight = sum(call.in_flight for call in group)
    children = all(call.child for call in group)
    count = children_text(len(group)) if children else plural(len(group), "call")
    spans.append((f" · {count}", ""))
    if failed:
        spans.append((f" ({failed:,} failed)", "bad"))
    if in_flight:
        spans.append((f" ({in_flight:,} in flight)", "call"))
    if again := sum(call.again for call in group):
        spans.append((f" ({again:,} asked again)", "dim"))
    seconds = max(call.until for call in group) - min(call.started for call in group)
    spans.append((_joined([*_total(group), f"{seconds:.2f} s"]), "dim"))
    return line(*spans, margin=_MARGIN)


def _group(group: Sequence[Call], width: int) -> Iterator[Piece]:
    rows: list[Call | str] = [*group] if len(group) <= _ALL else list(_some(group))
    digits = len(str(group[-1].number))
    shared = _shared(group)
    if shared:
        begin = f"each begins {_quoted(group[0].asked[:shared].rstrip())}"
        yield line((fitting(begin, width - len(_MARGIN) - 3), "dim"), margin=_MARGIN + "│  ")
    for row in rows:
        last = row is rows[-1]
        branch, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if isinstance(row, str):
            yield line((row, "dim"), margin=_MARGIN + branch, rest=_MARGIN + below)
            continue
        number = f"{row.number:>{digits}} " if len(group) > 1 else ""
        number = f"{row.child} " if row.child else number
        margin = _MARGIN + branch + number
        rest = _MARGIN + below + " " * len(number)
        facts = _joined([*_facts(row), *row.notes]) if len(group) > 1 else ""
        yield from _call(row, _asked(row, shared), margin, rest, facts, width)


def _some(group: Sequence[Call]) -> Iterator[Call | str]:
    """The first and last few of many calls, what failed between them, and the rest as a count."""
    middle = group[_FIRST:-_LAST]
    failed = [call for call in middle if call.error]
    told = len(failed) if len(failed) == _FAILED + 1 else _FAILED
    yield from group[:_FIRST]
    yield from failed[:told]
    rest = [call for call in middle if not call.error]
    if len(rest) == 1:  # a line that counts it would be no shorter
        yield rest[0]
    elif rest:
        yield f"… {len(rest):,} more{_joined(_total(rest))}"
    if len(failed) > told:
        yield f"… {len(failed) - told:,} more that failed"
    yield from group[-_LAST:]


def _call(call: Call, asked: str, margin: str, rest: str, facts: str, width: int) -> Iterator[Line]:
    """A call on one line where it fits, else its prompt on one and what came of it on the next.

    Prompts and replies are cut for that; an error is always told whole.
    """
    mark = "✗ " if call.error else ""
    said = _outcome(call)
    room = width - len(margin) - len(mark)
    for_said = room - columns(facts)
    for_both = for_said - len(_ARROW)
    if asked and width >= _ONE_LINE:
        half = max(20, for_both // 2)
        asked = fitting(asked, max(half, for_both - columns(said)))
        for_said = max(half, for_both - columns(asked))
    elif columns(asked) + columns(said) > for_both:
        asked, for_said = fitting(asked, room), for_said - len("→ ")
    said = said if call.error else fitting(said, for_said)
    head: list[Span] = [(mark, "bad"), (asked, "")]
    outcome: list[Span] = [(said, _style(call)), (facts, "dim")]
    if not asked:
        yield line(*head, *outcome, margin=margin, rest=rest)
    elif width >= _ONE_LINE or columns(asked) + columns(said) <= for_both:
        yield line(*head, (_ARROW, "dim"), *outcome, margin=margin, rest=rest)
    else:
        yield line(*head, margin=margin, rest=rest)
        yield line(("→ ", "dim"), *outcome, margin=rest, rest=rest + "  ")


def _name(group: Sequence[Call]) -> str:
    models = ", ".join(dict.fromkeys(call.model for call in group if call.model))
    return f"{group[0].name} → {models}" if models else group[0].name


def _facts(call: Call) -> list[str]:
    facts = []
    if call.child and call.ended:
        facts.append(plural(call.turns, "turn"))
    if call.model and call.ended:
        facts.append(f"{call.usage.tokens:,} tokens")
        if call.cost:
            facts.append(cost_text(call.cost))
    if call.ended:
        facts.append(f"{call.seconds:.2f} s")
    if call.attempts > 1:
        facts.append(f"{call.attempts} attempts")
    if call.again:
        facts.append("asked again")
    return facts


def _total(calls: Iterable[Call]) -> list[str]:
    """Tokens and cost of model calls; nothing for functions of the host."""
    asked = [call for call in calls if call.model]
    if not asked:
        return []
    tokens = sum(call.usage.tokens for call in asked)
    costs = [call.cost for call in asked if call.ended]
    known = [cost for cost in costs if cost is not None]
    total = sum(known) if len(known) == len(costs) else None
    return [f"{tokens:,} tokens", cost_text(total)]


def _joined(facts: Iterable[str]) -> str:
    return "".join(f" · {fact}" for fact in facts)


def _shared(group: Sequence[Call]) -> int:
    """How many characters the prompts of a batch have in common, where that is worth a line."""
    asked = [call.asked for call in group if call.model and not call.child]
    if len(asked) < _BATCH:
        return 0
    first, last = min(asked), max(asked)  # what these two share, those between them share too
    pairs = enumerate(zip(first, last, strict=False))
    common = next((place for place, (one, other) in pairs if one != other), len(first))
    if not _SHARED <= common < min(map(len, asked)):
        return 0
    return first.rfind(" ", 0, common) + 1


def _asked(call: Call, shared: int) -> str:
    """What was asked, without what all of its batch were asked."""
    if call.child and call.given:
        return f"{_quoted(call.asked)} on {_squeezed(call.given)}"
    if call.model:
        return f"“… {_quoted(call.asked[shared:])[1:]}" if shared else _quoted(call.asked)
    return f"({_squeezed(call.asked)})" if call.asked else ""


def _outcome(call: Call) -> str:
    if call.error:
        return _failure(call)
    if not call.ended:
        return "in flight" if call.in_flight else "no reply is recorded"
    return _quoted(call.said) if call.model else _squeezed(call.said)


def _style(call: Call) -> Style:
    if call.in_flight:
        return "call"
    return "bad" if call.error or not call.ended else ""


def _quoted(text: str) -> str:
    return f"“{_squeezed(text)}”"


def _squeezed(text: str) -> str:
    return printable(" ".join(text.split()))


def _failure(call: Call) -> str:
    return call.error if call.error.startswith("refused") else f"failed: {call.error}"


def _text(text: str) -> Iterator[Line]:
    for row in text.split("\n"):
        yield line(row, margin=_MARGIN + "  ")
