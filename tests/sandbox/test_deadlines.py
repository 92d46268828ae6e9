"""A cell's deadline: interrupted with state kept, killed when it will not stop."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from abyme.context.load import load
from abyme.errors import DataChanged
from abyme.sandbox.process import ProcessSandbox
from support.repl import opened, run_cell, run_cells


def test_a_program_that_unconfined_code_waits_for_is_interrupted(tmp_path: Path) -> None:
    code = "kept = 5\nimport subprocess; subprocess.run(['sleep', '60'])"
    box = ProcessSandbox(unsafe_local=True)
    first, second = run_cells(tmp_path, [code, "print(kept)"], seconds=0.4, sandbox=box)
    assert first.ended == "interrupted"
    assert second.output == "5\n"


def test_what_will_not_stop_is_killed_and_said_to_be(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "sum(iter(int, 1))", seconds=0.3)
    assert result.ended == "died" and result.error is not None
    assert "was killed" in result.error.message


@pytest.mark.parametrize("change", ["grow", "shrink", "replace", "delete"])
def test_data_that_changes_under_the_run_ends_it(tmp_path: Path, change: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text("original\n" * 10_000)

    async def main() -> None:
        data = load(path, folder=tmp_path / "data")
        async with opened(data) as repl:
            assert (await repl.run(1, "len(context)", 30)).output == "90000\n"
            time.sleep(0.01)
            if change == "grow":
                with path.open("a") as file:
                    file.write("more\n")
            elif change == "shrink":
                os.truncate(path, 10)
            elif change == "replace":
                other = tmp_path / "other"
                other.write_text("original\n" * 10_000)
                other.replace(path)
            else:
                path.unlink()
            await repl.run(2, "grep('origin')[:1]", 30)

    with pytest.raises(DataChanged, match=r"log\.txt"):
        asyncio.run(main())
