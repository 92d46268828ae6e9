"""A cell that is run again finds what it found: the same numbers, the same day, the same values."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from abyme.conformance.trial import (
    SECONDS,
    Trial,
    Untried,
    holds,
    output_of,
    prints,
    same,
    within,
)
from abyme.errors import SandboxError
from abyme.sandbox.base import NoCheckpoint

BEGAN = 1_000_000_000.25
"""When a cell first began: on 9 September 2001, whatever the time zone."""
_DAY = 86_400.0
_SURROGATES = "a lone \ud800 and \udc00 \0 é 漢 \U0001f600"
_PLAIN: dict[str, Any] = {
    "history": [{"question": "q?", "answer": [1, 2.5, None, True], "messages": [{"text": "m"}]}],
    "settings": {"1": -1, "": [], "e": 1e300},
    "word": _SURROGATES,
    "number": 2**70,
    "nothing": None,
}
_TELL = """\
import time, datetime as module
from datetime import date, datetime, timezone
from time import gmtime
class Mine(datetime): pass
def of(told): return time.mktime(time.strptime(told))
def moments():
    local = [datetime.now(), datetime.today(), datetime.utcnow(), Mine.now(), Mine.today()]
    return [time.time(), time.time_ns() / 1e9, of(time.ctime()), of(time.asctime()),
        time.mktime(time.localtime()), time.mktime(time.localtime(None)),
        datetime(*gmtime()[:6], tzinfo=timezone.utc).timestamp(),
        module.datetime.now(timezone.utc).timestamp(), *[each.timestamp() for each in local]]
def days():
    return [str(date.today()), str(module.date.today()), time.strftime('%Y-%m-%d'),
        time.strftime('%Y-%m-%d', time.localtime()), str(Mine.now())[:10]]
"""


class RepetitionChecks(Trial):
    """What is repeated: ``random`` from its seed, the wall clock, and what the host has bound."""

    @within(SECONDS)
    async def test_random_numbers_hang_on_the_seed_alone(self) -> None:
        """The same from the same seed, whoever imports ``random``, in whichever cell; else others.

        What asks the system for chance (``secrets``, ``uuid``) gets it.
        """
        draw = "import random; print(random.random(), random.sample(range(10**6), 5))"
        chance = "import secrets, uuid; print(secrets.token_hex(), uuid.uuid4())"
        drawn: list[str] = []
        chances: list[str] = []
        for seed, cells in ((7, (draw, chance)), (7, ("import tempfile", draw)), (8, (draw,))):
            async with self.repl(seed=seed) as repl:
                outputs = [
                    output_of(await self.run(repl, number, code))
                    for number, code in enumerate((*cells, chance), 1)
                ]
            drawn += [output for output in outputs if "[" in output]
            chances.append(outputs[-1])
        same("numbers from the same seed", drawn[1], drawn[0])
        holds(drawn[2] != drawn[0], f"another seed gives the same numbers: {drawn[0]}")
        same("what chance gave", len(set(chances)), 3)

    @within(SECONDS)
    async def test_a_cell_run_again_has_the_time_at_which_it_began(self) -> None:
        """In all that tells the time of day; it goes on from there, and ``monotonic`` as ever."""
        code = (
            "start = time.monotonic(); time.sleep(0.3); slept = time.monotonic() - start\n"
            "print(*moments(), slept); print(*sorted(set(days())))"
        )
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, _TELL, BEGAN - _DAY))
            told = output_of(await self.run(repl, 2, code, BEGAN)).splitlines()
        *moments, slept = map(float, told[0].split())
        # That of utcnow is taken for local time; all others are right to the second.
        late = [moment for moment in moments if abs(moment - BEGAN) > _DAY]
        same("moments that are not those of the cell", late, [])
        holds(moments[0] >= BEGAN + 0.29, f"{moments[0]} after 0.3 s: the clock stands still")
        holds(0.29 < slept < SECONDS, f"0.3 s took {slept} s by the monotonic clock")
        days = {datetime.fromtimestamp(BEGAN + hours * 3600, UTC).date() for hours in (-14, 0, 14)}
        holds(told[1] in map(str, days), f"the day is told as {told[1]}")

    @within(SECONDS)
    async def test_a_live_cell_has_the_true_time(self) -> None:
        """Also by names that a cell took which was run again, and by classes made there."""
        kept = "now, second, Kept = datetime.now, time.time, datetime\nclass Late(Kept): pass\n"
        code = (
            "print(*moments(), second(), now().timestamp(), Kept.now().timestamp(), "
            "Late.now().timestamp(), Late.today().timestamp())"
        )
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, _TELL + kept, BEGAN))
            before = time.time()
            told = output_of(await self.run(repl, 2, code))
        wrong = [at for at in map(float, told.split()) if abs(at - before) > _DAY]
        same("moments that are not those of the cell", wrong, [])

    @within(SECONDS)
    async def test_times_of_a_cell_run_again_are_values_like_all_others(self) -> None:
        """Of the very classes: compared, pickled, copied, and by ``isinstance``, now and later."""
        made = (
            "import copy, datetime as module, pickle, time\nfrom datetime import date, datetime\n"
            "class Holder: clock = time.time\n"
            "class Mine(datetime): pass\n"
            "moment, day, mine, function = datetime.now(), date.today(), Mine.now(), time.time"
        )
        code = (
            "print(type(moment) is datetime, type(day) is date, type(mine) is Mine,\n"
            "    isinstance(mine, module.datetime), isinstance(moment, date),\n"
            "    pickle.loads(pickle.dumps([moment, day])) == [moment, day],\n"
            "    pickle.loads(pickle.dumps(datetime)) is datetime is module.datetime,\n"
            "    pickle.loads(pickle.dumps(function)) is time.time,\n"
            "    copy.deepcopy(function) is function, Holder().clock() > 0)"
        )
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, made, BEGAN))
            for number, clock in ((2, BEGAN), (3, None)):
                prints(await self.run(repl, number, code, clock), " ".join(["True"] * 10) + "\n")

    @within(SECONDS)
    async def test_bound_values_are_variables(self) -> None:
        """Exactly as they are, from the first cell on and for later ones that bind them anew.

        They are no cell's variables, and come back when they are overwritten, as the data does.
        """
        asked = "print(ascii((history, settings, word, number, nothing)))"
        async with self.repl() as repl:
            await repl.bind(_PLAIN)
            first = await self.run(repl, 1, asked)
            prints(first, f"{tuple(_PLAIN.values())!a}\n")
            same("the variables of a cell that reads them", first.variables, ())
            overwriting = await self.run(repl, 2, "history = 1; del word; mine = settings")
            same("what is told", [each.name for each in overwriting.variables], ["mine"])
            told = "\n".join(overwriting.notes)
            holds("history" in told and "word" in told, f"no note names what came back: {told!r}")
            prints(await self.run(repl, 3, asked), f"{tuple(_PLAIN.values())!a}\n")
            await repl.bind({"history": ["another"]})
            prints(await self.run(repl, 4, "history, mine is settings"), "(['another'], True)\n")

    @within(SECONDS)
    async def test_bound_values_may_be_longer_than_a_frame(self) -> None:
        """Seventeen million characters of four bytes each, in one text."""
        text = "\U0001f600\ud83d" * 8_500_000
        async with self.repl() as repl:
            await repl.bind({"long": text, "short": "s"})
            code = "len(long), long.count('\\U0001f600\\ud83d'), short"
            prints(await self.run(repl, 1, code), "(17000000, 8500000, 's')\n")

    @within(SECONDS)
    async def test_what_cannot_be_bound_is_refused(self) -> None:
        """``ValueError`` for what is no name or no plain value; ``SandboxError`` for a name taken.

        Nothing is lost by it: the REPL goes on, and has what it had.
        """
        circle: list[Any] = []
        circle.append(circle)
        values = (object(), float("nan"), {"a": {1, 2}}, circle)
        async with self.repl() as repl:
            await repl.bind({"x": 5})
            for value in values:
                await _refused(repl.bind({"x": value}), ValueError)
            for name in ("no name", "if", "_x", ""):
                await _refused(repl.bind({name: 1}), ValueError)
            for taken in ("context", "llm_query", "FINAL"):
                await _refused(repl.bind({taken: 1}), SandboxError)
            prints(await self.run(repl, 1, "x, len(context)"), "(5, 10)\n")

    @within(SECONDS)
    async def test_a_checkpoint_holds_no_bound_value(self) -> None:
        """They are bound anew before it is restored, and names for parts of them still are those.

        Where a cell has changed one there is no checkpoint: the change would be lost.
        """
        rows = [{"text": "t" * 1_000_000}, {"text": "other"}]
        async with self.repl() as repl:
            await repl.bind({"history": rows})
            output_of(await self.run(repl, 1, "mine = history; row = history[0]; s = row['text']"))
            try:
                saved = await repl.checkpoint()
            except NoCheckpoint as error:
                raise Untried(str(error)) from None
            output_of(await self.run(repl, 2, "row['more'] = 1"))
            await _refused(repl.checkpoint(), NoCheckpoint)
        holds(len(saved) < 100_000, f"it has {len(saved):,} bytes: the value is in it")
        async with self.repl() as repl:
            await repl.bind({"history": rows})
            await repl.restore(saved)
            code = "mine is history, row is history[0], len(s)"
            prints(await self.run(repl, 3, code), "(True, True, 1000000)\n")
        async with self.repl() as repl:
            await repl.bind({"history": rows[:1]})
            await _refused(repl.restore(saved), NoCheckpoint)


async def _refused(asked: Any, kind: type[Exception]) -> None:
    try:
        await asked
    except asyncio.CancelledError:
        raise
    except Exception as error:
        holds(isinstance(error, kind) and str(error), f"it raised {error!r}, not a {kind.__name__}")
        return
    holds(False, f"it was taken where a {kind.__name__} belongs")
