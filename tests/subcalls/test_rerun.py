"""Calls of cells that run again are given what is on record, each outcome once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.events import CallEnded, CallRefused
from abyme.journal.outcomes import Outcomes
from abyme.subcalls import rerun
from abyme.subcalls.book import Asker, CallBook
from abyme.subcalls.keys import Keys, hashes
from abyme.subcalls.rerun import NOT_MADE, Rerun

CALLS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), max_size=20)


def next_key(keys: Keys, cell: int, request: dict[str, Any]) -> str:
    (key,) = keys.each(cell, hashes([("llm_query", request)]))
    return key


def recorded(calls: list[tuple[int, str]]) -> Outcomes:
    """What is on record where these cells asked for these prompts."""
    keys, outcomes = Keys("0"), Outcomes()
    for number, (cell, prompt) in enumerate(calls):
        key = next_key(keys, cell, {"prompt": prompt})
        outcomes.take(CallEnded(key, f"{prompt}{number}"))
    return outcomes


@given(CALLS, st.data())
def test_whichever_cell_asks_all_that_is_on_record_is_given_once(
    calls: list[tuple[int, str]], data: st.DataObject
) -> None:
    again = Rerun(recorded(calls))
    again.cell_begins(whole=False)
    keys, said = Keys("0"), []
    for _, prompt in data.draw(st.permutations(calls)):
        cell = data.draw(st.integers(1, 6))
        outcome = again.take(next_key(keys, cell, {"prompt": prompt}))
        assert outcome is not None and outcome.value.startswith(prompt)
        said.append(outcome.value)
    assert sorted(said) == sorted(f"{prompt}{n}" for n, (_, prompt) in enumerate(calls))
    for prompt in "abc":
        assert again.take(next_key(keys, 7, {"prompt": prompt})) is None


def test_a_call_is_given_its_own_outcome_before_an_equal_ones() -> None:
    again = Rerun(recorded([(1, "a"), (2, "a"), (2, "a")]))
    keys = Keys("0")
    second = again.take(next_key(keys, 2, {"prompt": "a"}))
    first = again.take(next_key(keys, 1, {"prompt": "a"}))
    assert first is not None and second is not None
    assert (first.value, second.value) == ("a0", "a1")


def test_what_cells_were_given_that_do_not_run_again_is_nobodys() -> None:
    again = Rerun(recorded([(1, "a"), (2, "a")]))
    again.leave_out([1])
    keys = Keys("0")
    taken = [again.take(next_key(keys, 3, {"prompt": "a"})) for _ in range(2)]
    assert [outcome and outcome.value for outcome in taken] == ["a1", None]


def test_a_failed_call_is_made_again_unless_its_cell_had_ended() -> None:
    keys, outcomes = Keys("0"), Outcomes()
    key = next_key(keys, 1, {"prompt": "a"})
    outcomes.take(CallRefused(key, "0", 1, "llm_query", "no money", "BudgetExceeded"))
    again = Rerun(outcomes)
    again.cell_begins(whole=False)
    assert again.take(key) is None
    again.cell_begins(whole=True)
    found = again.take(key)
    assert found is not None and found.error == "no money"
    assert again.take(key) is NOT_MADE


def test_a_thread_that_is_ahead_waits_for_the_cells() -> None:
    async def work() -> tuple[bool, bool]:
        book = CallBook("0")
        book.rerun = Rerun(recorded([]))
        book.rerun.cell_begins(whole=True)
        (beside,) = await book.identify(Asker(1), [("llm_query", {"prompt": "a"})])
        ahead = asyncio.create_task(book.identify(Asker(1, True), [("llm_query", {"prompt": "a"})]))
        await asyncio.sleep(0)
        assert not ahead.done()
        book.rerun.caught_up()
        return beside.recorded is NOT_MADE, (await ahead)[0].is_new

    assert asyncio.run(work()) == (True, True)


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell that runs may be waiting for it."""
    monkeypatch.setattr(rerun, "PATIENCE_SECONDS", 0.01)

    async def work() -> None:
        book = CallBook("0")
        book.rerun = Rerun(recorded([]))
        book.rerun.cell_begins(whole=True)
        for prompt in "abc":
            (call,) = await book.identify(Asker(1, True), [("llm_query", {"prompt": prompt})])
            assert call.recorded is NOT_MADE

    asyncio.run(work())
