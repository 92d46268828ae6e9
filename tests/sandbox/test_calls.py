"""Host calls from code: every way to make them, and how their failures look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.repl import TestHost, run_cell


def echo(arguments: dict[str, Any]) -> str:
    return f"re: {arguments['prompt']}"


def test_a_prompt_larger_than_a_frame_is_an_error_in_the_cell(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "llm_query('x' * 70_000_000)", host=TestHost({"llm_query": echo}))
    assert result.error is not None and "send less at once" in result.error.message
