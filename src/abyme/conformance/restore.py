"""A worker that is gone is replaced, and its cells are re-run: whole runs over the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from abyme.config import Limits
from abyme.conformance.trial import SECONDS, Trial, Untried, ends, holds, loaded, same, within
from abyme.engine import engine
from abyme.errors import SandboxError
from abyme.events import Event, MessageAdded, WorkerEnded, WorkerRestored
from abyme.journal.reader import read
from abyme.models.scripted import Scripted
from abyme.rlm import RLM
from abyme.sandbox.base import NoCheckpoint
from abyme.types import Answer

KILL = "import os; os._exit(1)"


class Ran(NamedTuple):
    """A run that is over."""

    answer: Answer
    events: list[Event]

    @property
    def restored(self) -> list[WorkerRestored]:
        """What was said of each worker that was replaced."""
        return [event for event in self.events if isinstance(event, WorkerRestored)]

    @property
    def told(self) -> str:
        """All that the model was told."""
        return "\n".join(e.text for e in self.events if isinstance(e, MessageAdded))


class RestoreChecks(Trial):
    """A run survives its worker: completed cells run again with the answers they had before."""

    async def _ask(self, cells: Sequence[str], **options: Any) -> Ran:
        replies = [f"```repl\n{code}\n```" for code in cells]
        sub = options.pop("sub", None)
        seconds = SECONDS * self.patience
        limits = Limits(max_seconds=seconds, cell_seconds=options.pop("cell_seconds", seconds))
        with TemporaryDirectory(prefix="abyme-conformance-") as folder:
            runs = Path(folder)
            rlm = RLM(
                Scripted(replies, sub), runs=runs, sandbox=self.sandbox(), limits=limits, **options
            )
            answer = await rlm.acompletion("what is it?", "some text\n")
            await asyncio.to_thread(engine().settle)  # the folder goes
            events = await asyncio.to_thread(
                lambda: [record.event for record in read(runs / answer.run)]
            )
        holds(answer.status == "complete", f"the run ended as {answer.status}: {answer.reason}")
        return Ran(answer, events)

    @within(2 * SECONDS)
    async def test_a_new_worker_has_what_the_dead_one_had(self) -> None:
        """Also what cells assigned that raised; the re-run cells did the same as before."""
        cells = (
            "import math\nn = 1\ndef f(): return n * 10",
            "m = 5\nrows = list({str(i) for i in range(9)})\n1 / 0",
            f"before = 'lost'\n{KILL}",
            "n += 1\nFINAL([n, m, f(), len(rows), math.floor(2.5), 'before' in globals()])",
        )
        ran = await self._ask(cells)
        same("the answer", ran.answer.value, [2, 5, 20, 9, 2, False])
        same("the cells run again", [each.cells for each in ran.restored], [(1, 2)])
        same("those that differed", [each.differing for each in ran.restored], [()])
        ended = [event for event in ran.events if isinstance(event, WorkerEnded)]
        holds(len(ended) == 1 and ended[0].how, f"what ended is told so: {ended!r}")

    @within(2 * SECONDS)
    async def test_calls_are_answered_as_they_were_and_never_made_again(self) -> None:
        """Of models, tools and ``budget``, from threads and coroutines, failures included."""
        asked: list[str] = []
        noted: list[str] = []

        def sub(request: Any) -> str:
            asked.append(request.messages[0].text)
            return f"{request.messages[0].text} #{len(asked)}"

        def note(text: str) -> int:
            """Write something down."""
            noted.append(text)
            if text == "bad":
                raise ValueError("not that")
            return len(noted)

        cells = (
            "import asyncio\nfrom concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(8) as pool: many = list(pool.map(llm_query, 'abcdefgh'))\n"
            "same = llm_query_batched(['s', 's', 's'])\n"
            "more = await asyncio.gather(*[allm_query(x) for x in 'xyz'])",
            "n = note('one'); m = note('one'); left = budget()['calls']['left']\n"
            "try: note('bad')\nexcept ToolError as e: why = str(e)",
            "before = repr((many, list(same), more, n, m, left, why))",
            KILL,
            "FINAL(before == repr((many, list(same), more, n, m, left, why)))",
        )
        ran = await self._ask(cells, sub=sub, tools=[note])
        same("all is as before", ran.answer.value, True)
        same("the sub-model was asked", len(asked), 8 + 3 + 3)
        same("the tool was called with", noted, ["one", "one", "bad"])
        same("the cells run again", [each.cells for each in ran.restored], [(1, 2, 3)])

    @within(2 * SECONDS)
    async def test_names_that_cannot_come_back_are_said(self) -> None:
        """A cell that a deadline ended is not run again; the model is told what it lost by that."""
        cells = (
            "kept = 1",
            "half = 2\nimport time\nwhile True: time.sleep(0.01)",
            "kept += half",
            KILL,
            "FINAL([kept, 'half' in globals()])",
        )
        ran = await self._ask(cells, cell_seconds=1.0 * self.patience)
        same("the answer", ran.answer.value, [1, False])
        same("what was lost", [each.lost for each in ran.restored], [("half", "os", "time")])
        holds("Lost: half" in ran.told, "the model was not told")

    @within(2 * SECONDS)
    async def test_a_worker_is_restored_again_and_again(self) -> None:
        """Three times, each time on top of the last."""
        cells = ["n = 1", *[KILL, "n += 1"] * 3, "FINAL(n)"]
        ran = await self._ask(cells)
        same("the answer", ran.answer.value, 4)
        same("how often it was restored", len(ran.restored), 3)

    @within(2 * SECONDS)
    async def test_a_checkpoint_makes_a_fresh_worker_the_same(self) -> None:
        """All of it or none: a sandbox that cannot take one says so by ``NoCheckpoint``."""
        cells = (
            "import math\nfrom dataclasses import dataclass\nn = 1\ndef f(): return n * 10",
            "@dataclass\nclass Point:\n    x: int\nrows = [Point(i) for i in range(9)]\n"
            "same = rows",
        )
        with TemporaryDirectory(prefix="abyme-conformance-") as folder:
            data = loaded("some text\n", Path(folder))
            async with self.repl(data) as repl:
                for number, code in enumerate(cells, 1):
                    ends(await self.run(repl, number, code), "done")
                try:
                    saved = await repl.checkpoint()
                except NoCheckpoint as error:
                    raise Untried(str(error)) from None
                again = await self.run(repl, 3, "n + 1")
                same("a cell after it", again.output, "2\n")
            async with self.repl(data) as repl:
                await repl.restore(bytes(saved))
                ends(await self.run(repl, 3, "n += 1"), "done")
                code = "[f(), rows[3], type(rows[3]) is Point, same is rows, math.floor(2.5)]"
                result = await self.run(repl, 4, code)
                same("what came back", result.output, "[20, Point(x=3), True, True, 2]\n")

    @within(SECONDS)
    async def test_what_is_no_checkpoint_restores_nothing(self) -> None:
        """A worker refuses bytes that none of its kind has made; nothing else is harmed."""
        async with self.repl() as repl:
            try:
                await repl.restore(b"no checkpoint")
            except (NoCheckpoint, SandboxError):
                return
            holds(False, "it took them")
