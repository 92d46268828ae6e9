"""Typed against computed answers, the finish rule over several replies, prose finishes."""

from __future__ import annotations

import pytest

from abyme.dialects.finish import Accepted, FinishRule, Held, Rejected
from abyme.dialects.literals import literal_argument
from abyme.dialects.prose import prose_finish
from abyme.types import CellResult, FailedCall, Finish
from dialects.corpus import ran

TYPED = [
    'FINAL("x")',
    "FINAL('a' 'b')",
    "FINAL(42)",
    "FINAL(None)",
    "FINAL(-1.5)",
    "FINAL([1, (2, {'a': {3}})])",
    'FINAL("a" + "b" * 3)',
    'FINAL("%s of %d" % ("a", 3))',
    'FINAL("{} of {}".format("a", 3))',
    "FINAL(f\"{3:>5} {'x'}\")",
    'FINAL("\\n".join(["a", "b"]))',
    'FINAL("""\n  text\n""".strip())',
    'FINAL(textwrap.dedent("""a"""))',
    'FINAL(json.dumps({"a": 1}))',
    "FINAL(str(42))",
    'FINAL("x", quotes=[hit.text])',
    'FINAL(value="x")',
    "SUBMIT('x')",
    "SUBMIT(answer='x', n=3)",
    "SUBMIT({'answer': 'x'})",
    "text = 'x'\nFINAL(text)",
    "text: str = 'x'\nFINAL(text)",
    "text = 'x'\nFINAL(f'{text}!')",
    "text = 'x'\nFINAL(text.upper())",
    "text = 'x'\nFINAL_VAR('text')",
    "text = 'x'\nFINAL_VAR(text)",
    "FINAL_VAR('a text that is no name')",
    "rows = [1, 2]\nprint(rows)\nFINAL(rows)",
    "answer['content'] = 'x'\nanswer['ready'] = True",
    "answer = {'content': 'x', 'ready': True}",
    "answer.update({'content': 'x', 'ready': True})",
    "answer.update(content='x', ready=True)",
    "if ok:\n    FINAL('x')",
    "def done():\n    FINAL('x')\ndone()",
    "FINAL(len(rows))\nFINAL('x')",
]

COMPUTED = [
    "FINAL(x)",
    "FINAL(len(rows))",
    'FINAL(f"{n}")',
    'FINAL("{}".format(n))',
    'FINAL(", ".join(names))',
    "FINAL([1, n])",
    "FINAL({'n': n})",
    "FINAL(*parts)",
    "SUBMIT(**fields)",
    "SUBMIT(answer=x, n=3)",
    "FINAL_VAR('total')",
    "FINAL_VAR(total)",
    "text = llm_query('q')\nFINAL(text)",
    "text = ''\ntext = 'x'\nFINAL(text)",
    "text = ''\nfor c in context: text += c\nFINAL(text)",
    "found = 'no'\nfor d in context:\n    if 'x' in d: found = 'yes'\nFINAL(found)",
    "rows = []\nrows.append(1)\nFINAL(rows)",
    "rows = {}\nrows['a'] = 1\nFINAL(rows)",
    "rows = []\nfill(rows)\nFINAL(rows)",
    "for text in ['a', 'b']: pass\nFINAL(text)",
    "FINAL('yes' if n else 'no')",
    "if n:\n    FINAL('yes')\nelse:\n    FINAL('no')",
    "FINAL('x')\nFINAL(len(rows))",
    "a = a\nFINAL(a)",
    "a = b\nb = a\nFINAL(a)",
    "answer['content'] = report",
    "answer['ready'] = True",
    "print('no answer')",
    "this is no Python",
    "",
]


@pytest.mark.parametrize("code", TYPED)
def test_typed(code: str) -> None:
    assert literal_argument([code])


@pytest.mark.parametrize("code", COMPUTED)
def test_computed(code: str) -> None:
    assert not literal_argument([code])


def test_a_name_counts_over_all_cells_of_the_reply() -> None:
    assert literal_argument(["text = 'x'", "FINAL(text)"])
    assert not literal_argument(["text = 'x'", "text = f()", "FINAL(text)"])


def test_an_expression_too_deep_to_judge_is_taken_as_typed() -> None:
    assert literal_argument(["FINAL(" + "1+" * 2500 + "1)"])


def test_names_that_double_each_other_are_judged_once() -> None:
    chain = [f"a{n} = a{n - 1} + a{n - 1}" for n in range(1, 90)]
    assert literal_argument(["a0 = 'x'", *chain, "FINAL(a89)"])


def finish(text: str) -> Finish:
    return Finish(text, text)


def judge(rule: FinishRule, code: str, text: str, *results: CellResult) -> object:
    return rule.judge([code], results or (ran(),), finish(text))


def test_a_held_answer_is_accepted_when_it_comes_again() -> None:
    rule = FinishRule()
    held = judge(rule, "print(n); FINAL('42')", "42", ran("41"))
    assert isinstance(held, Held)
    assert "42" in held.message
    assert rule.judge(["print(n)"], [ran("41")], None) is None
    assert isinstance(judge(rule, "print('ok'); FINAL('42')", "42", ran("ok")), Accepted)


def test_a_confirmation_may_be_given_in_another_way() -> None:
    rule = FinishRule()
    judge(rule, "print(n); FINAL(42)", "42", ran("42"))
    confirmed = rule.judge(["print(1); SUBMIT('42')"], [ran("1")], Finish("42", "42", "SUBMIT"))
    assert isinstance(confirmed, Accepted)


def test_each_new_literal_beside_new_output_is_held() -> None:
    rule = FinishRule()
    assert isinstance(judge(rule, "print(1); FINAL('a')", "a", ran("1")), Held)
    assert isinstance(judge(rule, "print(1); FINAL('b')", "b", ran("1")), Held)
    assert isinstance(judge(rule, "print(1); FINAL('a')", "a", ran("1")), Held)
    assert isinstance(judge(rule, "FINAL('c')", "c"), Accepted)


def test_sub_calls_are_output_too_even_where_they_failed() -> None:
    result = ran(calls=2, failed=(FailedCall("timeout"),))
    assert isinstance(judge(FinishRule(), "f(); FINAL('a')", "a", result), Held)


@pytest.mark.parametrize("ended", ["raised", "interrupted", "died"])
def test_an_answer_does_not_count_where_a_cell_broke_off(ended: str) -> None:
    rule = FinishRule()
    results = [ran(), ran(ended=ended)]  # type: ignore[arg-type]
    verdict = rule.judge(["FINAL(x)", "y()"], results, finish("9"))
    assert isinstance(verdict, Rejected)
    assert "cell 2" in verdict.message
    assert "«9»" in verdict.message


def test_a_rejected_answer_needs_no_confirmation_later() -> None:
    rule = FinishRule()
    judge(rule, "print(1); FINAL('a')", "a", ran("1", ended="raised"))
    assert isinstance(judge(rule, "FINAL('a')", "a"), Accepted)
    assert isinstance(judge(FinishRule(), "print(1); FINAL('a')", "a", ran("1")), Held)


def test_the_draft_is_what_was_handed_over_last() -> None:
    rule = FinishRule()
    assert rule.draft is None
    judge(rule, "print(1); FINAL('a')", "a", ran("1"))
    judge(rule, "FINAL(b)", "b", ran(ended="raised"))
    assert rule.draft is not None
    assert rule.draft.text == "b"


def test_the_draft_may_come_from_the_answer_dict_but_not_twice() -> None:
    rule = FinishRule()
    so_far = CellResult("done", draft="so far: x")
    rule.judge(["answer['content'] = 'so far: x'"], [so_far], None)
    assert rule.draft == Finish("so far: x", "so far: x", "answer")
    judge(rule, "print(1); FINAL('a')", "a", CellResult("done", "1", 1, draft="so far: x"))
    rule.judge(["print(2)"], [so_far], None)
    assert rule.draft is not None
    assert rule.draft.text == "a"


def test_a_long_answer_is_not_repeated_in_full() -> None:
    verdict = judge(FinishRule(), "print(1); FINAL('a')", "a" * 100_000, ran("1"))
    assert isinstance(verdict, Held)
    assert len(verdict.message) < 1_000


def test_prose_values_are_json_as_a_cell_would_give_them() -> None:
    found = prose_finish('FINAL({"a": (1, None)}, quotes=["one", "two"])')
    assert found is not None
    assert found.value == {"a": [1, None]}
    assert found.text == '{"a": [1, null]}'
    assert found.quotes == ("one", "two")


@pytest.mark.parametrize(("reply", "text"), [("FINAL(True)", "True"), ("FINAL(3.5)", "3.5")])
def test_prose_constants_have_their_value(reply: str, text: str) -> None:
    found = prose_finish(reply)
    assert found is not None
    assert not isinstance(found.value, str)
    assert found.text == text


@pytest.mark.parametrize(
    "reply",
    [
        "FINAL(None)",
        "FINAL(   )",
        "FINAL_VAR()",
        "FINAL_VAR('')",
        "FINAL",
        "FINAL: 42",
        "My FINAL(42)",
        "xFINAL(42)",
        "FINAL(42) is what I expect.\n(It may change.)",
        "FINAL(O(n))",
        "<think>FINAL(42)</think>",
    ],
)
def test_no_prose_answer(reply: str) -> None:
    assert prose_finish(reply) is None


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("### FINAL(42)", "42"),
        ("**FINAL(42)**.", "42"),
        ("FINAL (Ann Lee)", "Ann Lee"),
        ("FINAL_VAR('Ann Lee, mayor')", "Ann Lee, mayor"),
        ("FINAL(  Ann Lee\nof Rome )", "Ann Lee\nof Rome"),
        ("FINAL(Paris (France))", "Paris (France)"),
        ("FINAL('it\\'s (a')", "it's (a"),
        ("```\nFINAL(Ann, of Rome; and Bo)\n```", "Ann, of Rome; and Bo"),
    ],
)
def test_prose_answer(reply: str, text: str) -> None:
    found = prose_finish(reply)
    assert found is not None
    assert found.text == text
    assert found.variable == ""


def test_a_longer_answer_that_merely_contains_the_letters_is_not_the_held_one() -> None:
    rule = FinishRule()
    assert isinstance(judge(rule, "print(1); FINAL('4')", "4", ran("1")), Held)
    assert isinstance(judge(rule, "print(1); FINAL('42')", "42", ran("1")), Held)
    assert isinstance(judge(rule, "print(1); FINAL('4.2')", "4.2", ran("1")), Held)
    assert isinstance(judge(rule, "print(1); FINAL('42 men')", "42 men", ran("1")), Held)
    assert isinstance(judge(rule, "print(1); FINAL('42')", "42", ran("1")), Accepted)
