"""Replies of models, and what each of them must lead to.

A row with a link has the shape of a reply that was reported there, in our own words. The others
are what the rules of the dialect must hold for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abyme.types import CellError, CellResult, Ended, FailedCall

GITHUB = "https://github.com/"


def ran(
    output: str = "", *, calls: int = 0, ended: Ended = "done", failed: tuple[FailedCall, ...] = ()
) -> CellResult:
    """A cell's result as the worker would report it."""
    error = CellError("ValueError", "no", "ValueError: no") if ended == "raised" else None
    return CellResult(ended, output, len(output), error=error, calls=calls, failed_calls=failed)


@dataclass(frozen=True)
class Row:
    """One reply. ``finish`` is the answer its cells record when run; ``held`` one held before."""

    id: str
    reply: str
    cells: tuple[str, ...] = ()
    prose: str | None = None
    """The text of the prose finish."""
    variable: str | None = None
    """The variable that the prose finish names."""
    literal: bool = False
    results: tuple[CellResult, ...] | None = None
    finish: str | None = None
    held: str | None = None
    verdict: Literal["", "Accepted", "Held", "Rejected"] = ""
    link: str = ""


def lines(*parts: str) -> str:
    """Lines of a reply."""
    return "\n".join(parts)


def repl(*code: str, tag: str = "repl") -> str:
    """A fenced cell."""
    return lines(f"```{tag}", *code, "```")


REPORTED = (
    # -------------------------------------------------- finishing, in code
    Row(
        "final_inside_a_fence_is_a_call_not_a_text",
        repl("FINAL(final_answer)"),
        cells=("FINAL(final_answer)",),
        results=(ran(),),
        finish="812",
        verdict="Accepted",
        link=GITHUB + "alexzhang13/rlm/pull/115",
    ),
    Row(
        "final_var_of_a_variable_made_in_the_same_cell",
        repl("total = sum(counts)", "FINAL_VAR('total')"),
        cells=("total = sum(counts)\nFINAL_VAR('total')",),
        results=(ran(),),
        finish="812",
        verdict="Accepted",
        link=GITHUB + "alexzhang13/rlm/pull/8",
    ),
    Row(
        "final_var_of_a_variable_that_does_not_exist_raises",
        repl("FINAL_VAR('result')"),
        cells=("FINAL_VAR('result')",),
        results=(ran(ended="raised"),),
        link=GITHUB + "alexzhang13/rlm/pull/77",
    ),
    Row(
        "invented_output_and_finish_after_the_cell",
        lines(
            "I will print the customers first.",
            repl("print(context)"),
            "Output:",
            "```",
            "Alice: $1200, Kevin: $5200",
            "```",
            "So the order is clear.",
            "FINAL(1. Kevin: $5200, 2. Alice: $1200)",
        ),
        cells=("print(context)",),
        results=(ran("Dora: $77"),),
        link=GITHUB + "alexzhang13/rlm/pull/127",
    ),
    Row(
        "invented_output_and_finish_in_cells",
        lines(repl("print(context)"), "Kevin leads.", repl('FINAL("Kevin")')),
        cells=("print(context)", 'FINAL("Kevin")'),
        literal=True,
        results=(ran("Dora: $77"), ran()),
        finish="Kevin",
        verdict="Held",
        link=GITHUB + "alexzhang13/rlm/pull/127",
    ),
    Row(
        "submit_of_a_retyped_value_beside_print",
        repl("revenue = total(context)", "print(revenue)", 'SUBMIT("12 million")'),
        cells=('revenue = total(context)\nprint(revenue)\nSUBMIT("12 million")',),
        literal=True,
        results=(ran("11 million\n"),),
        finish="12 million",
        verdict="Held",
        link=GITHUB + "stanfordnlp/dspy/pull/9210",
    ),
    Row(
        "submit_of_a_computed_value_beside_print",
        repl("revenue = total(context)", "print(revenue)", "SUBMIT(revenue)"),
        cells=("revenue = total(context)\nprint(revenue)\nSUBMIT(revenue)",),
        results=(ran("11 million\n"),),
        finish="11 million",
        verdict="Accepted",
        link=GITHUB + "stanfordnlp/dspy/pull/9210",
    ),
    Row(
        "answer_dict_ready_ends_without_another_call",
        repl('answer["content"] = summary', 'answer["ready"] = True'),
        cells=('answer["content"] = summary\nanswer["ready"] = True',),
        results=(ran(),),
        finish="The summary.",
        verdict="Accepted",
        link=GITHUB + "PrimeIntellect-ai/verifiers/pull/757",
    ),
    Row(
        "a_real_call_then_a_fabricated_answer",
        lines(repl("hits = search('mayor')"), "The search finds Ann.", "", "FINAL(Ann)"),
        cells=("hits = search('mayor')",),
        results=(ran(),),
        link=GITHUB + "dynamiq-ai/dynamiq/pull/768",
    ),
    # -------------------------------------------------- finishing, in prose
    Row(
        "prose_final_with_a_nested_call_is_code_that_did_not_run",
        "FINAL(func(arg1, arg2))",
        link=GITHUB + "alexzhang13/rlm/pull/75",
    ),
    Row(
        "prose_final_of_a_list_and_a_tuple",
        "FINAL([1, 2, 3], (4, 5))",
        prose="[1, 2, 3], (4, 5)",
        link=GITHUB + "alexzhang13/rlm/pull/75",
    ),
    Row(
        "prose_final_of_a_sum_of_calls",
        "FINAL(calculate(10, 20) + process(data))",
        link=GITHUB + "alexzhang13/rlm/pull/75",
    ),
    Row(
        "prose_final_with_nested_parentheses",
        "FINAL(2^(2^(2^(2))) = 65536)",
        prose="2^(2^(2^(2))) = 65536",
        link=GITHUB + "huggingface/OpenEnv/pull/653",
    ),
    Row(
        "prose_final_of_nested_braces",
        'FINAL({"a": {"b": [1, 2]}, "c": "x) y"})',
        prose='{"a": {"b": [1, 2]}, "c": "x) y"}',
        link=GITHUB + "davidrsch/rrlmgraph-bench/issues/163",
    ),
    Row(
        "prose_final_var",
        "The variable holds it.\n\nFINAL_VAR(answer)",
        prose="answer",
        variable="answer",
        link=GITHUB + "alexzhang13/rlm/pull/10",
    ),
    Row(
        "prose_final_var_with_quotes",
        "FINAL_VAR('answer')",
        prose="answer",
        variable="answer",
        link=GITHUB + "alexzhang13/rlm/issues/22",
    ),
    Row(
        "the_raw_tuple_is_no_answer",
        "('FINAL_VAR', 'answer')",
        link=GITHUB + "alexzhang13/rlm/issues/22",
    ),
    Row(
        "final_var_in_the_middle_of_a_sentence",
        "Everything is checked. I will return FINAL_VAR(output) now.",
        link=GITHUB + "alexzhang13/rlm/pull/41",
    ),
    Row(
        "a_plan_that_names_final_var_beside_a_cell",
        lines(
            "I will verify the entries and then provide FINAL_VAR(output) as the answer.",
            "",
            repl("print(output.count('\\n') + 1)"),
        ),
        cells=("print(output.count('\\n') + 1)",),
        results=(ran("100\n"),),
        link=GITHUB + "alexzhang13/rlm/issues/37",
    ),
    Row(
        "final_var_on_its_own_line_after_an_explanation",
        "The entries are right, each on a line.\n\nFINAL_VAR(output)\n",
        prose="output",
        variable="output",
        link=GITHUB + "alexzhang13/rlm/issues/37",
    ),
    Row(
        "prose_final_of_a_quoted_text",
        'FINAL("Review done with sub-LLM analysis")',
        prose="Review done with sub-LLM analysis",
        link=GITHUB + "existential-birds/daydream/pull/2",
    ),
    Row(
        "action_and_invented_observation_as_text",
        lines(
            "Action:",
            "'''json",
            '{"action": "get_weather", "action_input": {"location": "London"}}',
            "'''",
            "Observation: assume it is mostly cloudy.",
        ),
        link=GITHUB + "huggingface/agents-course/issues/576",
    ),
    # -------------------------------------------------- no code at all
    Row(
        "reasoning_none_code_none",
        "Reasoning: None\nCode: None",
        link=GITHUB + "stanfordnlp/dspy/issues/9632",
    ),
    Row("an_empty_reply", "", link=GITHUB + "stanfordnlp/dspy/pull/9639"),
    Row(
        "an_xml_function_call",
        "<function=exec><parameter=cmd>ls</parameter></function>",
        link=GITHUB + "HKUDS/nanobot/pull/4124",
    ),
    Row(
        "an_xml_function_call_over_lines",
        lines(
            "",
            "<function=bash>",
            "<parameter=command>find . -name '*.py'</parameter>",
            "</function>",
        ),
        link=GITHUB + "SWE-bench/SWE-smith/issues/23",
    ),
    Row(
        "json_fence_where_code_was_asked_for",
        repl('{"code": "print(1)"}', tag="json"),
        link=GITHUB + "Qredence/fleet-rlm/pull/324",
    ),
    Row(
        "json_fence_cut_at_the_token_limit",
        lines("```json", '{"memory": [{"id": "1", "text": "likes'),
        link=GITHUB + "mem0ai/mem0/pull/4421",
    ),
    Row(
        "another_language_with_signs_in_its_name",
        repl("int x = 1;", tag="c++"),
        link=GITHUB + "simonw/llm/pull/1468",
    ),
    # -------------------------------------------------- where cells begin and end
    Row(
        "unlabelled_fence_with_a_program",
        lines("Here is the code:", "```", "rows = context.splitlines()", "print(len(rows))", "```"),
        cells=("rows = context.splitlines()\nprint(len(rows))",),
        results=(ran("9\n"),),
        link=GITHUB + "stanfordnlp/dspy/pull/9309",
    ),
    Row(
        "two_blocks_with_prose_between",
        lines(repl("a = 1", tag="python"), "then", repl("print(a)", tag="python")),
        cells=("a = 1", "print(a)"),
        results=(ran(), ran("1\n")),
        link=GITHUB + "langchain-ai/langgraph-codeact/pull/15",
    ),
    Row(
        "fence_inside_a_triple_quoted_string",
        repl('print("""```python', "x = 1", '```""")'),
        cells=('print("""```python\nx = 1\n```""")',),
        results=(ran("..."),),
        link=GITHUB + "stanfordnlp/dspy/pull/9801",
    ),
    Row(
        "docstring_with_a_fence_on_a_line_of_its_own",
        repl(
            "def f():",
            '    """Use it so:',
            "```",
            "f()",
            "```",
            '    """',
            "    return 1",
            tag="py",
        ),
        cells=('def f():\n    """Use it so:\n```\nf()\n```\n    """\n    return 1',),
        results=(ran(),),
        link=GITHUB + "huggingface/smolagents/pull/2652",
    ),
    Row(
        "backticks_inline_in_a_string",
        repl('FINAL("run ```pip install x``` first")'),
        cells=('FINAL("run ```pip install x``` first")',),
        literal=True,
        results=(ran(),),
        finish="run ```pip install x``` first",
        verdict="Accepted",
        link=GITHUB + "huggingface/smolagents/pull/2472",
    ),
    Row(
        "unlabelled_example_in_the_thought_and_the_code_after_it",
        lines("Thought: something like", "```", "f(x)", "```", "Code:", repl("f(2)", tag="py")),
        cells=("f(2)",),
        results=(ran(),),
        link=GITHUB + "huggingface/smolagents/pull/2472",
    ),
    Row(
        "stray_fence_before_the_tagged_one",
        lines("```", repl("x = 1", tag="py"), "```"),
        cells=("x = 1",),
        results=(ran(),),
        link=GITHUB + "huggingface/smolagents/pull/883",
    ),
    Row(
        "code_element_instead_of_a_fence",
        lines("Thought: count.", "<code>", "print(len(context))", "</code>"),
        cells=("print(len(context))",),
        results=(ran("9\n"),),
        link=GITHUB + "huggingface/smolagents/pull/1493",
    ),
    Row(
        "repl_element_instead_of_a_fence",
        lines("<repl>", "print(context[:100])", "</repl>"),
        cells=("print(context[:100])",),
        results=(ran("a"),),
        link=GITHUB + "NovaSky-AI/SkyRL/pull/850",
    ),
    Row(
        "shell_fence_inside_a_string_of_a_report",
        repl(
            'doc = """# How to', "```shell", "make", "```", '"""', "print(len(doc))", tag="python"
        ),
        cells=('doc = """# How to\n```shell\nmake\n```\n"""\nprint(len(doc))',),
        results=(ran("30\n"),),
        link=GITHUB + "FoundationAgents/MetaGPT/pull/1984",
    ),
    Row(
        "a_fact_about_json_fences_in_a_string",
        repl("facts = ['uses ```json fences']", "print(facts)", tag="python"),
        cells=("facts = ['uses ```json fences']\nprint(facts)",),
        results=(ran("…"),),
        link=GITHUB + "vectorize-io/hindsight/pull/2563",
    ),
    Row(
        "upper_case_tag_after_prose",
        lines("Here is the code:", repl("x = 1", tag="PYTHON")),
        cells=("x = 1",),
        results=(ran(),),
        link=GITHUB + "run-llama/llama_index/pull/22395",
    ),
    Row(
        "text_after_the_closing_fence_is_not_code",
        lines(repl("x = 1", tag="python"), "This sets x. (It's a start."),
        cells=("x = 1",),
        results=(ran(),),
        link=GITHUB + "apenab/pyrlm-runtime/pull/31",
    ),
    Row(
        "closing_fence_cut_off",
        lines("Plot it:", "```python", "x = [1, 2]", "print(x)"),
        cells=("x = [1, 2]\nprint(x)",),
        results=(ran("[1, 2]\n"),),
        link=GITHUB + "llmsresearch/paperbanana/pull/35",
    ),
    Row(
        "missing_ending_ticks",
        "```\nprint(1)",
        cells=("print(1)",),
        results=(ran("1\n"),),
        link=GITHUB + "langchain-ai/langchain/issues/3057",
    ),
    Row(
        "escapes_and_equals_signs_stay_as_they_are",
        repl('data = "users: Alice=25, Bob=30"', 'print(f"\\nTotal Users: {42}")', tag="python"),
        cells=('data = "users: Alice=25, Bob=30"\nprint(f"\\nTotal Users: {42}")',),
        results=(ran("\nTotal Users: 42\n"),),
        link=GITHUB + "stanfordnlp/dspy/pull/9364",
    ),
    Row(
        "tag_in_braces",
        repl("x = 1", tag="{python}"),
        cells=("x = 1",),
        results=(ran(),),
        link=GITHUB + "tarasglek/chatcraft.org/pull/260",
    ),
    Row(
        "crlf_line_ends",
        "Look:\r\n```python\r\nx = 1\r\nprint(x)\r\n```\r\nDone.",
        cells=("x = 1\nprint(x)",),
        results=(ran("1\n"),),
        link=GITHUB + "simonw/llm/pull/1644",
    ),
    Row(
        "four_backticks_around_three",
        lines("````python", 'p = """', "```", "not code", "```", '"""', "````"),
        cells=('p = """\n```\nnot code\n```\n"""',),
        results=(ran(),),
        link=GITHUB + "JuliusBrussee/caveman/pull/66",
    ),
    Row(
        "fence_indented_under_a_list_item",
        lines(
            "1. Look at the data:",
            "",
            "    ```python",
            "    for c in context:",
            "        print(c)",
            "    ```",
        ),
        cells=("for c in context:\n    print(c)",),
        results=(ran("a"),),
        link=GITHUB + "agent-ecosystem/afdocs/pull/75",
    ),
    Row(
        "fence_on_the_line_of_the_list_marker",
        lines("- ```python", "  x = 1", "  print(x)", "  ```"),
        cells=("x = 1\nprint(x)",),
        results=(ran("1\n"),),
        link=GITHUB + "markup-carve/carve/issues/646",
    ),
    # -------------------------------------------------- thoughts
    Row(
        "think_then_a_fence",
        lines("<think>", "maybe", repl("evil()"), "</think>", repl("good()")),
        cells=("good()",),
        results=(ran(),),
        link=GITHUB + "interviewstreet/hiring-agent/pull/313",
    ),
    Row(
        "think_in_brackets",
        lines("[THINK]", "FINAL(7)", "[/THINK]", "FINAL(8)"),
        prose="8",
        link=GITHUB + "Siddhesh2377/ToolNeuron/issues/78",
    ),
    Row(
        "think_of_another_name",
        lines("<thinking>", repl("evil()"), "</thinking>", "I am done."),
        link=GITHUB + "anomalyco/opencode/issues/11439",
    ),
)

OURS = (
    # -------------------------------------------------- where cells begin and end
    Row("tildes", lines("~~~repl", "x = 1", "~~~"), cells=("x = 1",), results=(ran(),)),
    Row(
        "tildes_are_not_closed_by_backticks",
        lines("~~~py", 's = """', "```", '"""', "~~~"),
        cells=('s = """\n```\n"""',),
        results=(ran(),),
    ),
    Row(
        "attributes_after_the_tag",
        repl("x = 1", tag='python title="look" linenums=1'),
        cells=("x = 1",),
        results=(ran(),),
    ),
    Row(
        "python_fence_in_the_prompt_of_a_sub_call",
        repl(
            'r = llm_query(f"""Explain:',
            "```python",
            "{code}",
            "```",
            "In one line.",
            '""")',
            "print(r)",
        ),
        cells=('r = llm_query(f"""Explain:\n```python\n{code}\n```\nIn one line.\n""")\nprint(r)',),
        results=(ran("ok", calls=1),),
    ),
    Row(
        "single_quoted_string_continued_over_a_fence",
        repl("s = 'a\\", "```\\", "b'"),
        cells=("s = 'a\\\n```\\\nb'",),
        results=(ran(),),
    ),
    Row(
        "syntax_error_is_shown_and_does_not_swallow_the_next_cell",
        lines(repl("x = (1"), "and", repl("y = 2")),
        cells=("x = (1", "y = 2"),
        results=(ran(ended="raised"),),
    ),
    Row(
        "second_of_two_cells_raises",
        lines(repl("x = 1"), repl("x / 0", "FINAL(x)")),
        cells=("x = 1", "x / 0\nFINAL(x)"),
        literal=True,
        results=(ran(), ran(ended="raised")),
    ),
    Row(
        "a_cell_not_closed_before_the_next_begins",
        lines("```repl", "x = 1", "```repl", "print(x)", "```"),
        cells=("x = 1", "print(x)"),
        results=(ran(), ran("1\n")),
    ),
    Row(
        "closing_fence_hangs_on_the_last_line",
        "```python\nprint(x)```",
        cells=("print(x)",),
        results=(ran("1\n"),),
    ),
    Row(
        "reply_cut_in_the_middle_of_a_call",
        "```repl\nFINAL('the answer is",
        cells=("FINAL('the answer is",),
        results=(ran(ended="raised"),),
    ),
    Row(
        "doctest_prompts",
        repl(">>> x = [", "...     1]", "[1]", ">>> print(x)", "[1]", tag="python"),
        cells=("x = [\n    1]\nprint(x)",),
        results=(ran("[1]\n"),),
    ),
    Row(
        "tab_indented_body",
        repl("\tx = 1", "\tprint(x)"),
        cells=("x = 1\nprint(x)",),
        results=(ran("1\n"),),
    ),
    Row(
        "top_level_await",
        repl('r = await allm_query("hi")', "print(r)"),
        cells=('r = await allm_query("hi")\nprint(r)',),
        results=(ran("hi", calls=1),),
    ),
    Row("an_empty_cell", repl("", "  ")),
    Row("bash_fence", repl("pip install numpy", tag="bash")),
    Row("bare_fence_with_prose", lines("```", "The answer is unclear so far.", "```")),
    Row("bare_fence_with_one_word", lines("```", "unknown", "```")),
    Row("bare_fence_with_json", lines("```", '{"label": "x", "n": [1, 2]}', "```")),
    Row("bare_fence_with_a_label", lines("```", "Answer: Ann", "```")),
    Row(
        "bare_fence_beside_a_tagged_one",
        lines(repl("x = 1"), "It will print", "```", "print(x)", "```"),
        cells=("x = 1",),
        results=(ran(),),
    ),
    Row(
        "markdown_example_with_a_cell_in_it",
        lines("```markdown", "```python", "evil()", "```", "```"),
    ),
    Row(
        "only_the_end_of_a_thought", lines("hm, maybe", repl("evil()"), "</think>", "Nothing yet.")
    ),
    Row("a_thought_without_an_end", lines("<think>", repl("evil()"), "FINAL(7)")),
    Row(
        "the_word_think_in_a_string_of_a_cell",
        repl('parts = text.split("</think>")', "print(parts[-1])"),
        cells=('parts = text.split("</think>")\nprint(parts[-1])',),
        results=(ran("x"),),
    ),
    Row(
        "a_tool_call_that_wraps_a_fence",
        lines("<tool_call>", repl("x = 1", tag="python"), "</tool_call>"),
        cells=("x = 1",),
        results=(ran(),),
    ),
    Row(
        "a_tool_call_in_json",
        '<tool_call>{"name": "python", "arguments": {"code": "1"}}</tool_call>',
    ),
    # -------------------------------------------------- finishing, in prose
    Row(
        "prose_final_of_words",
        "FINAL(Ann Lee (the mayor), since 1999)",
        prose="Ann Lee (the mayor), since 1999",
    ),
    Row("prose_final_of_a_number", "FINAL(812)", prose="812"),
    Row("prose_final_of_a_grouped_number", "FINAL(1,234)", prose="1,234"),
    Row("prose_final_with_an_apostrophe", "FINAL(It's Ann's (both))", prose="It's Ann's (both)"),
    Row(
        "prose_final_of_a_word_is_a_variable_or_nothing",
        "FINAL(answer)",
        prose="answer",
        variable="answer",
    ),
    Row("prose_final_in_bold", "So:\n\n**FINAL(Ann Lee)**", prose="Ann Lee"),
    Row("prose_final_in_backticks", "`FINAL_VAR(report)`", prose="report", variable="report"),
    Row("prose_final_in_a_quotation", "> FINAL(Ann Lee)", prose="Ann Lee"),
    Row("prose_final_over_lines", 'FINAL("""one (1)\ntwo :)\n""")', prose="one (1)\ntwo :)\n"),
    Row(
        "prose_final_of_a_list",
        "FINAL(The steps:\n1) look\n2) count)",
        prose="The steps:\n1) look\n2) count",
    ),
    Row("prose_final_by_keyword", 'FINAL(value="Ann", quotes=["Ann is"])', prose="Ann"),
    Row(
        "prose_final_in_a_text_fence",
        lines("```text", "FINAL(Ann Lee, mayor)", "```"),
        prose="Ann Lee, mayor",
    ),
    Row("prose_final_in_a_fence_of_another_language", repl("FINAL(Ann Lee)", tag="json")),
    Row("prose_final_var_with_spaces", "FINAL_VAR( `report` )", prose="report", variable="report"),
    Row("prose_final_var_of_an_expression", "FINAL_VAR(results['a'])"),
    Row("prose_final_of_an_f_string", 'FINAL(f"{n} of them")'),
    Row("prose_final_of_an_item", "FINAL(rows[0])"),
    Row(
        "prose_final_twice",
        "FINAL(12 men)\n\nNo, one was counted twice.\n\nFINAL(11 men)",
        prose="11 men",
    ),
    Row("unbalanced_parentheses", "FINAL(The answer (probably is 42"),
    Row("nothing_in_the_parentheses", "FINAL()"),
    Row("an_empty_text_in_the_parentheses", 'FINAL("  ")'),
    Row("final_at_the_start_of_a_sentence", "FINAL(x) once I have verified it (soon)."),
    Row("final_in_a_plan", "Plan: 1. count. 2. call FINAL(count) with the result."),
    Row("final_in_a_bullet_of_a_plan", "- count\n- FINAL(count)"),
    # -------------------------------------------------- finishing, in code
    Row(
        "bare_fence_with_final",
        lines("```", 'FINAL("Ann")', "```"),
        cells=('FINAL("Ann")',),
        literal=True,
        results=(ran(),),
        finish="Ann",
        verdict="Accepted",
    ),
    Row(
        "literal_after_a_sub_call",
        repl("r = llm_query(p)", 'FINAL("42")'),
        cells=('r = llm_query(p)\nFINAL("42")',),
        literal=True,
        results=(ran(calls=1),),
        finish="42",
        verdict="Held",
    ),
    Row(
        "the_same_literal_again_is_confirmed",
        repl("print('sure')", 'FINAL("42")'),
        cells=("print('sure')\nFINAL(\"42\")",),
        literal=True,
        results=(ran("sure\n"),),
        finish="42",
        held="42",
        verdict="Accepted",
    ),
    Row(
        "another_literal_is_held_anew",
        repl("print(n)", 'FINAL("43")'),
        cells=('print(n)\nFINAL("43")',),
        literal=True,
        results=(ran("43\n"),),
        finish="43",
        held="42",
        verdict="Held",
    ),
    Row(
        "another_literal_without_output_is_accepted",
        repl('FINAL("43")'),
        cells=('FINAL("43")',),
        literal=True,
        results=(ran(),),
        finish="43",
        held="42",
        verdict="Accepted",
    ),
    Row(
        "f_string_of_a_computed_value",
        repl("print(n)", 'FINAL(f"{n} tickets")'),
        cells=('print(n)\nFINAL(f"{n} tickets")',),
        results=(ran("9\n"),),
        finish="9 tickets",
        verdict="Accepted",
    ),
    Row(
        "f_string_of_constants",
        repl("print(n)", 'FINAL(f"{9} tickets")'),
        cells=('print(n)\nFINAL(f"{9} tickets")',),
        literal=True,
        results=(ran("8\n"),),
        finish="9 tickets",
        verdict="Held",
    ),
    Row(
        "a_name_for_a_literal",
        repl("text = 'Ann' + ' Lee'", "print(context[:9])", "FINAL(text)"),
        cells=("text = 'Ann' + ' Lee'\nprint(context[:9])\nFINAL(text)",),
        literal=True,
        results=(ran("…"),),
        finish="Ann Lee",
        verdict="Held",
    ),
    Row(
        "a_list_that_was_filled",
        repl(
            "found = []", "for d in context: found.append(d)", "print(len(found))", "FINAL(found)"
        ),
        cells=("found = []\nfor d in context: found.append(d)\nprint(len(found))\nFINAL(found)",),
        results=(ran("2\n"),),
        finish='["a", "b"]',
        verdict="Accepted",
    ),
    Row(
        "submit_by_keyword",
        repl("print(1)", 'SUBMIT(answer="x", n=3)'),
        cells=('print(1)\nSUBMIT(answer="x", n=3)',),
        literal=True,
        results=(ran("1\n"),),
        finish='{"answer": "x", "n": 3}',
        verdict="Held",
    ),
    Row(
        "submit_by_keyword_of_computed_values",
        repl("print(1)", "SUBMIT(answer=best, n=3)"),
        cells=("print(1)\nSUBMIT(answer=best, n=3)",),
        results=(ran("1\n"),),
        finish='{"answer": "b", "n": 3}',
        verdict="Accepted",
    ),
    Row(
        "literal_with_computed_quotes",
        repl("print(1)", 'FINAL("x", quotes=[hit.text])'),
        cells=('print(1)\nFINAL("x", quotes=[hit.text])',),
        literal=True,
        results=(ran("1\n"),),
        finish="x",
        verdict="Held",
    ),
    Row(
        "answer_dict_literal_beside_output",
        repl("print(look)", 'answer = {"content": "x", "ready": True}'),
        cells=('print(look)\nanswer = {"content": "x", "ready": True}',),
        literal=True,
        results=(ran("y\n"),),
        finish="x",
        verdict="Held",
    ),
    Row(
        "answer_dict_not_ready",
        repl('answer["content"] = "so far: x"', 'answer["ready"] = False'),
        cells=('answer["content"] = "so far: x"\nanswer["ready"] = False',),
        literal=True,
        results=(ran(),),
    ),
    Row(
        "a_choice_that_code_makes",
        repl("print(n)", 'FINAL("yes" if n > 3 else "no")'),
        cells=('print(n)\nFINAL("yes" if n > 3 else "no")',),
        results=(ran("4\n"),),
        finish="yes",
        verdict="Accepted",
    ),
    Row(
        "a_choice_between_two_calls",
        repl("print(n)", "if n > 3:", '    FINAL("yes")', "else:", '    FINAL("no")'),
        cells=('print(n)\nif n > 3:\n    FINAL("yes")\nelse:\n    FINAL("no")',),
        results=(ran("4\n"),),
        finish="yes",
        verdict="Accepted",
    ),
    Row(
        "finish_in_a_reply_whose_later_cell_raises",
        lines(repl("FINAL(total)"), repl("1 / 0")),
        cells=("FINAL(total)", "1 / 0"),
        results=(ran(), ran(ended="raised")),
        finish="9",
        verdict="Rejected",
    ),
    Row(
        "finish_then_sys_exit",
        repl("FINAL(total)", "sys.exit()"),
        cells=("FINAL(total)\nsys.exit()",),
        results=(ran(ended="exited"),),
        finish="9",
        verdict="Accepted",
    ),
    Row(
        "finish_then_deadline",
        repl("FINAL(total)", "while True: pass"),
        cells=("FINAL(total)\nwhile True: pass",),
        results=(ran(ended="interrupted"),),
        finish="9",
        verdict="Rejected",
    ),
    Row(
        "finish_but_not_all_cells_ran",
        lines(repl("FINAL(total)"), repl("x = 1")),
        cells=("FINAL(total)", "x = 1"),
        results=(ran(),),
        finish="9",
        verdict="Rejected",
    ),
    Row(
        "prose_final_beside_a_cell_is_dropped",
        lines(repl("x = 1"), "FINAL(42)"),
        cells=("x = 1",),
        results=(ran(),),
    ),
    Row(
        "the_tuple_as_a_value",
        repl("FINAL(('FINAL_VAR', 'x'))"),
        cells=("FINAL(('FINAL_VAR', 'x'))",),
        literal=True,
        results=(ran(),),
        finish='["FINAL_VAR", "x"]',
        verdict="Accepted",
    ),
)

CORPUS = REPORTED + OURS
