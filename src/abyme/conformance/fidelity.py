"""Text, numbers and answers come through exactly as they are."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from abyme.conformance.calls import TAKE, echo
from abyme.conformance.trial import (
    SECONDS,
    AnsweringHost,
    Trial,
    ends,
    holds,
    output_of,
    prints,
    raises,
    same,
    within,
)

TEXTS = {
    "plain": "ASCII, tabs\t, and a line\n",
    "ends of lines": "a\r\nb\rc\nd\x0be\x0cf\x85g\u2028h\u2029",
    "NUL and controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "all planes": "é ẞ 字 \ufdd0 \uffff \U0001f600 \U00020000 \U000e0001 \U0010ffff",
    "marks and order": "\ufeffe\u0301 \u202eabc\u202c \u200d \u200b",
    "lone surrogates": "\ud800 \udfff \udc80",
    "halves that are a pair": "\ud83d\ude00 is not \U0001f600",
    "looks like JSON": '\\ud83d \\u0000 "}]\\\\',
    "looks like a frame": "\x00\x00\x00\x02{}",
}
"""Each must survive every way that text takes, byte for byte."""

_RAW = "import hashlib\ndef raw(t): return hashlib.sha256(t.encode('utf-8', 'surrogatepass'))"
_MEGABYTES = "''.join(map(chr, (*range(0xd700, 0xe100), *range(0x1f000, 0x1f800)))) * 700"

FINISHES: tuple[tuple[str, str, Any, str], ...] = (
    ("FINAL('done')", "FINAL", "done", "done"),
    ("FINAL(7)", "FINAL", 7, "7"),
    ("FINAL(True)", "FINAL", True, "True"),
    ("FINAL(2.5)", "FINAL", 2.5, "2.5"),
    ("FINAL(2 ** 80)", "FINAL", 2**80, str(2**80)),
    ("FINAL(-0.0)", "FINAL", -0.0, "-0.0"),
    ("FINAL([])", "FINAL", [], "[]"),
    ("FINAL((1, 2))", "FINAL", [1, 2], "[1, 2]"),
    ("FINAL({'a': [1, None, {'é': False}]})", "FINAL", {"a": [1, None, {"é": False}]}, ""),
    ("FINAL({1, 2})", "FINAL", "{1, 2}", "{1, 2}"),
    ("FINAL(float('nan'))", "FINAL", "nan", "nan"),
    ("FINAL(float('inf'))", "FINAL", "inf", "inf"),
    ("FINAL('a'); FINAL('b')", "FINAL", "b", "b"),
    ("x = {'a': [1, 2]}\nFINAL_VAR('x')", "FINAL_VAR", {"a": [1, 2]}, ""),
    ("x = 'the text itself'\nFINAL_VAR(x)", "FINAL_VAR", "the text itself", "the text itself"),
    ("FINAL_VAR([1])", "FINAL_VAR", [1], "[1]"),
    ("SUBMIT(3.5)", "SUBMIT", 3.5, "3.5"),
    ("SUBMIT(answer='a')", "SUBMIT", "a", "a"),
    ("SUBMIT(a=1, b=2)", "SUBMIT", {"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
    ("answer['content'] = 'c'\nanswer['ready'] = True", "answer", "c", "c"),
    ("answer = {'content': 5, 'ready': True}", "answer", 5, "5"),
)
"""A cell that finishes, how, the value, and (where it is said) the text of the answer."""

NO_FINISHES = (
    *("FINAL_VAR('nosuch')", "FINAL()", "FINAL('')", "FINAL(None)", "SUBMIT()", "SUBMIT(1, 2)"),
    *("answer['ready'] = False", "answer['content'] = 'draft only'", "FINAL('x'); 1 / 0"),
    "FINAL('x', quotes=['this is nowhere in it'])",
)


class FidelityChecks(Trial):
    """No text is normalised, replaced or cut on its way, no number rounded, no type changed."""

    @within(SECONDS)
    async def test_every_kind_of_text_can_be_asked_with_and_answered(self) -> None:
        """As the argument of a call, as its answer, within containers and as a key."""
        host = AnsweringHost({"llm_query": echo, "take": lambda a: a["value"]})
        async with self.repl(host=host, functions=(TAKE,)) as repl:
            for number, (kind, text) in enumerate(TEXTS.items(), 1):
                code = (
                    f"t = {text!a}\nv = [{{t: t}}, [t]]\n"
                    "llm_query(t) == t, take(v) == v, ascii(llm_query(t)) == ascii(t)"
                )
                same(kind, output_of(await self.run(repl, number, code)), "(True, True, True)\n")
                same(f"{kind}, on the host", host.calls[-1][2]["prompt"], text)
                same(f"{kind}, inside", host.calls[-2][2]["value"], [{text: text}, [text]])

    @within(SECONDS)
    async def test_every_kind_of_text_can_be_printed_and_handed_over(self) -> None:
        """As output, as an answer, as what ``look`` finds, as an exception's message."""
        async with self.repl() as repl:
            for number, (kind, text) in enumerate(TEXTS.items(), 1):
                code = f"t = {text!a}\nprint(t, end='')\nFINAL(t)"
                result = await self.run(repl, 2 * number, code)
                same(f"{kind}, printed", output_of(result), text)
                same(f"{kind}, its length", result.output_chars, len(text))
                holds(result.finish is not None, f"{kind}: no answer")
                if result.finish is not None:
                    same(f"{kind}, as an answer", result.finish.value, text)
                    same(f"{kind}, as its text", result.finish.text, text)
                found = await repl.look("t")
                holds(found is not None and found.text == text, f"{kind}, looked at: {found!r}")
                raised = await self.run(repl, 2 * number + 1, "raise ValueError(t)")
                same(f"{kind}, raised", raises(raised, "ValueError"), text)

    @within(SECONDS)
    async def test_every_kind_of_text_is_read_as_data(self) -> None:
        """A ``str`` handed over as the data is ``context``, character for character."""
        for kind, text in TEXTS.items():
            code = f"context == {text!a}, len(context)"
            (result,) = await self.cells(code, context=text)
            same(kind, output_of(result), f"(True, {len(text)})\n")

    @within(SECONDS)
    async def test_code_may_hold_any_text(self) -> None:
        """Literals, names and comments beyond ASCII; what Python cannot compile is an error.

        The newlines of a cell are Python's to interpret, its characters nobody's.
        """
        cells = (
            "naïve_字 = 'é\U0001f600\u2028'  # ẞ",
            "naïve_字 == '\\xe9\\U0001f600\\u2028'",
            "x = 1\r\ny = 2\r\nx + y",
            "'\ud800'",
            "'\x00'",
            "'alive'",
        )
        _, second, third, lone, nul, last = await self.cells(*cells)
        prints(second, "True\n")
        prints(third, "3\n")
        for result in (lone, nul):
            holds(result.ended in ("done", "raised"), f"a strange literal: {result.ended!r}")
        prints(last, "'alive'\n")

    @within(SECONDS)
    async def test_ten_megabytes_of_text_come_through_exactly(self) -> None:
        """Of all widths and with lone surrogates: asked with, and answered."""
        text = eval(_MEGABYTES)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        host = AnsweringHost({"llm_query": lambda a: a["prompt"]})
        code = f"{_RAW}\nt = {_MEGABYTES}\nr = llm_query(t)\nlen(t), r == t, raw(r).hexdigest()"
        (result,) = await self.cells(code, host=host)
        prints(result, f"({len(text)}, True, '{digest}')\n")
        holds(host.calls[0][2]["prompt"] == text, "the host was asked with another text")

    @within(SECONDS)
    async def test_numbers_come_through_exactly(self) -> None:
        """Whole numbers of any size, every float, ``bool`` apart from ``int``, ``None``."""
        numbers: list[Any] = [0, -1, 2**53 + 1, -(2**63), 2**64, 10**1000, True, False, None]
        numbers += [0.1, 1.0, -0.0, 1 / 3, 5e-324, 1.7976931348623157e308, math.pi]
        host = AnsweringHost({"take": lambda a: numbers if a["value"] == "all" else a["value"]})
        code = (
            f"mine = {numbers!r}\ngot = take('all')\nback = [take(n) for n in mine]\n"
            "[list(map(repr, each)) == list(map(repr, mine)) for each in (got, back, take(mine))]"
        )
        (result,) = await self.cells(code, host=host, functions=(TAKE,))
        prints(result, "[True, True, True]\n")
        heard = [arguments["value"] for _, _, arguments in host.calls[1:-1]]
        same("what the host got", list(map(repr, heard)), list(map(repr, numbers)))

    @within(SECONDS)
    async def test_nested_values_come_through_exactly(self) -> None:
        """Lists and dicts in their order, empty ones, fifty deep, a hundred thousand long.

        Tuples arrive as lists and keys as text: that is what JSON has.
        """
        deep: Any = "bottom"
        for level in range(50):
            deep = [deep] if level % 2 else {"k": deep}
        values: list[Any] = [[], {}, [[]], {"": {}}, {"b": 1, "a": 2}, deep, list(range(100_000))]
        host = AnsweringHost({"take": lambda a: a["value"]})
        code = (
            "deep = 'bottom'\nfor level in range(50): deep = [deep] if level % 2 else {'k': deep}\n"
            "mine = [[], {}, [[]], {'': {}}, {'b': 1, 'a': 2}, deep, list(range(100_000))]\n"
            "back = [take(v) for v in mine]\n"
            "print(back == mine, list(back[4]), take((1, (2,))), take({1: 'a'}))"
        )
        (result,) = await self.cells(code, host=host, functions=(TAKE,))
        prints(result, "True ['b', 'a'] [1, [2]] {'1': 'a'}\n")
        same("what the host got", [call[2]["value"] for call in host.calls[:7]], values)
        same("the order of keys", list(host.calls[4][2]["value"]), ["b", "a"])

    @within(SECONDS)
    async def test_every_way_to_finish_hands_over_its_value(self) -> None:
        """Typed as JSON has it; what JSON has not is its text. ``via`` names the way."""
        async with self.repl() as repl:
            for number, (code, via, value, text) in enumerate(FINISHES, 1):
                result = await self.run(repl, number, code)
                ends(result, "done")
                holds(result.finish is not None, f"no answer from {code!r}")
                if result.finish is not None:
                    same(f"the value of {code!r}", result.finish.value, value)
                    same(f"the repr of {code!r}", repr(result.finish.value), repr(value))
                    same(f"the way of {code!r}", result.finish.via, via)
                    same(f"the text of {code!r}", result.finish.text, text or result.finish.text)

    @within(SECONDS)
    async def test_what_is_no_finish_is_none(self) -> None:
        """Nothing handed over, quotes that are not in the data; nothing lingers from cell to cell.

        A cell that raised may carry what it handed over before; it did not end as ``done``.
        """
        async with self.repl() as repl:
            for number, code in enumerate((*NO_FINISHES, "1"), 1):
                result = await self.run(repl, number, code)
                holds(result.finish is None or not result.ok, f"{code!r} is taken for an answer")
            result = await self.run(repl, 90, "answer['content'] = 'draft'")
            same("the draft", result.draft, "draft")
            ready = await self.run(repl, 91, "answer['ready'] = True")
            holds(ready.finish is not None, "a ready answer is none")
            again = await self.run(repl, 92, "1")
            same("a ready answer, a second time", again.finish, None)
