"""One persistent namespace, as a notebook has it."""

from __future__ import annotations

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

NAMES = (
    *("context", "llm_query", "llm_query_batched", "allm_query", "rlm_query", "rlm_query_batched"),
    *("arlm_query", "budget", "SHOW_VARS", "search", "grep", "FINAL", "FINAL_VAR", "SUBMIT"),
    *("answer", "CallError", "BudgetExceeded", "PromptTooLong", "ToolError", "Failed"),
)
"""What code finds without importing anything."""


class NamespaceChecks(Trial):
    """Every cell is executed in one dict, in place; nothing but its worker's end empties it."""

    @within(SECONDS)
    async def test_the_names_that_code_counts_on_are_there(self) -> None:
        """The data, the calls, the ways to finish and their exceptions are defined in each cell."""
        code = f"[name for name in {NAMES!r} if name not in globals()]"
        first, second = await self.cells(f"context\n{code}", code)
        prints(first, "[]\n")
        prints(second, "[]\n")

    @within(SECONDS)
    async def test_a_name_stays_from_cell_to_cell(self) -> None:
        """What a cell assigns, later cells read and change."""
        *_, last = await self.cells("x = 20", "x += 1", "print(x * 2)")
        prints(last, "42\n")

    @within(SECONDS)
    async def test_hundreds_of_cells_run_one_after_the_other(self) -> None:
        """The number of cells has no limit, and no cell is lost."""
        results = await self.cells("n = 0", *["n += 1"] * 200, "n")
        prints(results[-1], "200\n")

    @within(SECONDS)
    async def test_what_a_cell_assigned_before_it_raised_is_kept(self) -> None:
        """A raising cell is not rolled back; what stands behind the raise did not happen."""
        first, a, b = await self.cells("a = 1\nraise KeyError('gone')\nb = 2", "a", "b")
        raises(first, "KeyError")
        prints(a, "1\n")
        raises(b, "NameError")

    @within(SECONDS)
    async def test_global_reaches_the_namespace(self) -> None:
        """``global`` in a function binds a name that every later cell sees."""
        cells = ("def f():\n    global made\n    made = 7\nf()", "made += 1", "f(); made")
        results = await self.cells(*cells)
        prints(results[2], "7\n")

    @within(SECONDS)
    async def test_older_functions_see_redefinitions(self) -> None:
        """Functions look names up when they run: what is defined anew later is what they call."""
        old = "n = 1\ndef f(): return n * 10, g()\ndef g(): return 'old'\nf()"
        first, second = await self.cells(old, "n = 5\ndef g(): return 'new'\nf()")
        prints(first, "(10, 'old')\n")
        prints(second, "(50, 'new')\n")

    @within(SECONDS)
    async def test_closures_keep_what_they_closed_over(self) -> None:
        """``nonlocal`` state, default arguments and generators go on over the border of a cell."""
        make = (
            "def counter():\n    n = 0\n    def step(by=1):\n        nonlocal n\n        n += by\n"
            "        return n\n    return step\n"
            "one, two = counter(), counter()\nsquares = (i * i for i in range(9))"
        )
        *_, last = await self.cells(make, "one(); one(5); two(); next(squares)", ASK_CLOSURES)
        prints(last, "(7, 2, 1)\n")

    @within(SECONDS)
    async def test_classes_live_on(self) -> None:
        """Instances, subclasses with ``super``, dataclasses and enums work over several cells."""
        cells = (
            "from dataclasses import dataclass\nimport enum\n"
            "@dataclass(order=True)\nclass P:\n    x: int\n    def twice(self): return self.x * 2\n"
            "class E(enum.Enum):\n    A = 1\np = P(3)",
            "class Q(P):\n    def twice(self): return super().twice() + 1",
            "p, Q(4).twice(), isinstance(Q(1), P), P(1) < P(2), E(1)",
        )
        *_, last = await self.cells(*cells)
        prints(last, "(P(x=3), 9, True, True, <E.A: 1>)\n")

    @within(SECONDS)
    async def test_imports_stay(self) -> None:
        """A module imported once is there, and is the same module, from then on."""
        first = "import json, collections.abc as abc\nfrom math import floor as down"
        *_, last = await self.cells(first, "import json as again", ASK_IMPORTS)
        prints(last, "(True, True, 2)\n")

    @within(SECONDS)
    async def test_the_namespace_is_the_module_main(self) -> None:
        """``__name__`` is ``"__main__"``, and ``sys.modules`` has the namespace by that name."""
        code = "import sys\n__name__, vars(sys.modules['__main__']) is globals()"
        (result,) = await self.cells(code)
        prints(result, "('__main__', True)\n")

    @within(SECONDS)
    async def test_instances_of_own_classes_can_be_pickled(self) -> None:
        """``pickle`` finds a class that a cell defined by its module and name, ``copy`` too."""
        cells = (
            "class P:\n    def __init__(self, x): self.x = x\n"
            "    def __eq__(self, other): return self.x == other.x",
            "import copy, pickle\n"
            "pickle.loads(pickle.dumps(P(3))) == P(3), copy.deepcopy([P(1)]) == [P(1)]",
        )
        *_, last = await self.cells(*cells)
        prints(last, "(True, True)\n")

    @within(SECONDS)
    async def test_comprehensions_see_the_names_of_the_cell(self) -> None:
        """Comprehensions, lambdas and generator expressions read names; their variable is theirs.

        An ``exec`` with two dicts, for globals and locals, fails this.
        """
        code = (
            "k = 3\nrows = [i * k for i in range(k) if any(j < k for j in range(i))]\n"
            "less = sorted([3, 1], key=lambda n: -n * k)\nrows, less, 'i' in globals()"
        )
        (result,) = await self.cells(code)
        prints(result, "([3, 6], [3, 1], False)\n")

    @within(SECONDS)
    async def test_exec_and_eval_work_on_the_namespace(self) -> None:
        """``eval`` at the top level reads it, ``exec`` and ``globals()`` write to it."""
        cells = ("x = 2\nexec('y = x + 1')\nglobals()['z'] = eval('x * y')", "x, y, z")
        *_, last = await self.cells(*cells)
        prints(last, "(2, 3, 6)\n")

    @within(SECONDS)
    async def test_a_deleted_name_is_gone(self) -> None:
        """``del`` takes a name out of the namespace, and it does not come back."""
        first, second = await self.cells("x = 1; del x\ny = 'x' in globals()", "print(y); x")
        ends(first, "done")
        same("the cell printed", second.output, "False\n")
        raises(second, "NameError")

    @within(SECONDS)
    async def test_the_value_of_a_last_expression_is_shown_and_kept(self) -> None:
        """Its repr is output, and ``_`` is that value; ``None`` and assignments show nothing."""
        results = await self.cells("print('a')\n6 * 7", "_ + 1", "None", "q = 5", "_", "'é\\n'")
        expected = ["a\n42\n", "43\n", "", "", "43\n", "'é\\n'\n"]
        same("the cells printed", [output_of(result) for result in results], expected)

    @within(SECONDS)
    async def test_await_works_at_the_top_level(self) -> None:
        """A cell may ``await``; all cells share an event loop, where a task waits for later ones.

        ``asyncio.run`` in a cell, which is what models are used to, works as well.
        """
        cells = (
            "import asyncio\nx = await asyncio.sleep(0, 5)\n"
            "async def f(n):\n    await asyncio.sleep(0)\n    return n * x\n"
            "task = asyncio.ensure_future(f(2))",
            "y = await task\nasync with asyncio.timeout(30): z = await asyncio.gather(f(3), f(4))\n"
            "x, y, z, [i async for i in (await f(n) for n in (1, 2))]",
            "asyncio.run(f(6))",
        )
        _, second, third = await self.cells(*cells)
        prints(second, "(5, 10, [15, 20], [5, 10])\n")
        prints(third, "30\n")

    @within(SECONDS)
    async def test_a_syntax_error_leaves_everything_as_it_was(self) -> None:
        """A cell that cannot be compiled does not run at all; the error says what and where."""
        _, wrong, after = await self.cells("x = 1", "x = 2\ny = (", "x, 'y' in globals()")
        holds(raises(wrong, "SyntaxError"), "the error has no message")
        error = wrong.error
        holds(error is not None and "line 2" in error.traceback, "the traceback names no line")
        prints(after, "(1, False)\n")

    @within(SECONDS)
    async def test_the_data_and_the_calls_come_back_when_overwritten(self) -> None:
        """After a cell that binds or deletes one of their names the next finds it as it was.

        A note of the cell that did it names them, so that the model knows.
        """
        cells = (
            "context",
            "context = 1; llm_query = None; del FINAL",
            "len(context), llm_query('x'); FINAL('x')",
        )
        host = AnsweringHost({"llm_query": lambda arguments: "back"})
        _, first, second = await self.cells(*cells, host=host)
        ends(first, "done")
        told = "\n".join(first.notes)
        for name in ("context", "llm_query", "FINAL"):
            holds(name in told, f"no note tells that {name} was overwritten: {told!r}")
        ends(second, "done")
        holds(second.finish is not None, "FINAL did not come back")
        same("notes of a cell that overwrote nothing", second.notes, ())

    @within(SECONDS)
    async def test_variables_that_a_cell_made_or_changed_are_told(self) -> None:
        """With type and size, never their value; what the cell did not touch is not in the list."""
        first, second = await self.cells(
            "kept = 'secret' * 3\nrows = [1, 2]\ndef helper(): pass", "rows.append(3)"
        )
        told = {variable.name: (variable.type, variable.size) for variable in first.variables}
        same("the names told", sorted(told), ["helper", "kept", "rows"])
        same(
            "the types told", [told[name][0] for name in sorted(told)], ["function", "str", "list"]
        )
        holds("18" in told["kept"][1], f"the size of a text of 18 characters: {told['kept'][1]!r}")
        holds("secret" not in repr(first.variables), "a value is shown")
        same("what the second cell changed", [v.name for v in second.variables], ["rows"])


ASK_CLOSURES = "one(), two(), next(squares)"
ASK_IMPORTS = "again is json, isinstance([], abc.Sequence), down(2.5)"
