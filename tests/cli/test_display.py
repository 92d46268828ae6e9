"""What is shown while a run goes on: on a terminal, in a pipe, and when asked for more or less."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from abyme.cli.ask.plain import Plain
from abyme.events import CallsAsked, CallStarted, DataLoading, RunStarted
from support import tree
from support.command import abyme, replies
from support.runs import cell
from support.terminal import on_terminal


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("alpha\nbeta says 42\n")
    return path


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Three turns with prose, output, a batch and an answer."""
    path = tmp_path / "replies.json"
    first = "I look at the notes.\n\n" + cell("print(context)")
    second = cell("print(llm_query_batched(['a?', 'b?', 'c?']))")
    last = cell("FINAL('it is 42', quotes=['beta says 42'])")
    path.write_text(json.dumps({"root": [first, second, last], "sub": {"?": "yes"}}))
    return f"scripted:{path}"


def test_a_tree_that_moves_and_what_is_left_of_it(
    tmp_path: Path, model: str, data: Path, runs: Path
) -> None:
    # The first cell waits until it has been seen to run, however slow the machine is.
    seen = tmp_path / "seen"
    script = Path(model.removeprefix("scripted:"))
    wait = f"import os, time\\nwhile not os.path.exists('{seen}'): time.sleep(0.05)"
    script.write_text(script.read_text().replace("print(context)", f"print(context)\\n{wait}"))

    def watch(drawn: str, process: subprocess.Popen[bytes]) -> None:
        if "cell 1 runs" in drawn and "> beta says 42" in drawn:
            seen.touch()

    shown = on_terminal("ask", "which number?", data, "--model", model, runs=runs, once=watch)
    assert shown.code == 0 and seen.exists()
    screen = shown.screen
    assert re.search(r"turn 1 · cell 1 runs", screen)  # while it moved
    assert "├── I look at the notes." in screen and "> beta says 42" in screen
    left = [line for line in screen.split("\n") if line.startswith(("├── turn", "└── turn"))]
    assert re.match(r"├── turn 1 · 1 cell · \d\.\d s  I look at the notes\.", left[0])
    assert re.match(r"├── turn 2 · 1 cell · 3 sub-calls · \d\.\d s", left[1])
    assert re.match(r"└── turn 3 · 1 cell · \d\.\d s", left[2])
    end = screen[screen.index(left[2]) :].split("\n")
    assert end[1:4] == ["it is 42", "  ✓ notes.txt:2", "    beta says 42"]
    assert end[4].startswith("complete · 3 turns · 6 calls")
    assert end[5].startswith("run 2")  # too long for 80 columns, so on its own line
    assert max(len(line) for line in screen.split("\n") if model not in line) <= 80


def test_the_answer_alone_goes_into_a_pipe(model: str, data: Path, runs: Path) -> None:
    shown = on_terminal(
        "ask", "which number?", data, "--model", model, runs=runs, stdout_piped=True
    )
    assert (shown.code, shown.stdout) == (0, "it is 42\n")
    assert "└── turn 3" in shown.screen and "\nit is 42\n" not in shown.screen


def test_no_color_means_no_colour(model: str, data: Path, runs: Path) -> None:
    words = ("ask", "which number?", data, "--model", model)
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    assert coloured.search(on_terminal(*words, runs=runs).raw)
    plain = on_terminal(*words, runs=runs, environment={"NO_COLOR": "1"})
    assert "└── turn 3" in plain.screen and not coloured.search(plain.raw)


def test_a_dumb_terminal_gets_lines(model: str, data: Path, runs: Path) -> None:
    words = ("ask", "which number?", data, "--model", model)
    shown = on_terminal(*words, runs=runs, environment={"TERM": "dumb"})
    assert "\x1b" not in shown.raw and "\nturn 3 · 1 cell\n" in shown.screen


def test_verbose_shows_code_output_and_sub_calls(model: str, data: Path, runs: Path) -> None:
    done = abyme("ask", "which?", data, "--model", model, "-v", runs=runs)
    lines = done.stderr.split("\n")
    assert done.stdout == "it is 42\n"
    for line in ("  I look at the notes.", "  | print(context)", "  > beta says 42"):
        assert line in lines
    assert sum(line.startswith("    sub-call: yes · ") for line in lines) == 3


def test_quiet_never_hides_an_error(tmp_path: Path, data: Path, runs: Path) -> None:
    nothing = replies(tmp_path, "never asked")
    words = ("--model", nothing, "--quiet", "--max-tokens", "100")
    done = abyme("ask", "which?", data, *words, runs=runs)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("failed: ") and "run 2" in done.stderr
    done = abyme("ask", "which?", "nots.txt", "--model", nothing, "-q", runs=runs)
    assert done.returncode == 2 and "does not exist" in done.stderr


@pytest.mark.parametrize("signals", [1, 2])  # a wrapper may pass on what the terminal sent
def test_ctrl_c_on_a_terminal_ends_in_a_second_with_draft_cost_and_id(
    tmp_path: Path, data: Path, runs: Path, signals: int
) -> None:
    model = replies(tmp_path, cell("answer['content'] = 'a draft'"), cell("while True: pass"))
    pressed: list[float] = []

    def press(drawn: str, process: subprocess.Popen[bytes]) -> None:
        if not pressed and "turn 2 · cell 1 runs" in drawn:
            pressed.append(time.monotonic())
            for _ in range(signals):
                process.send_signal(signal.SIGINT)

    shown = on_terminal("ask", "which?", data, "--model", model, runs=runs, once=press)
    took = time.monotonic() - pressed[0]
    assert shown.code == 130
    assert "a draft\n" in shown.screen
    assert re.search(r"partial: interrupted · .* · \$0 · ", shown.screen)
    assert re.search(r"run \d{8}-\d{6}-\w+", shown.screen)
    # One second is what is promised; a machine that is shared gets some more.
    assert took < 5


def test_the_cursor_is_never_left_hidden(model: str, data: Path, runs: Path) -> None:
    raw = on_terminal("ask", "which?", data, "--model", model, runs=runs).raw
    assert raw.rfind("\x1b[?25l") < raw.find("\x1b[?25h") < raw.index("turn 1")


class Lines(Plain):
    """A plain display whose clock is moved by hand."""

    def __init__(self) -> None:
        self.said: list[str] = []
        super().__init__(self.said.append)

    def later(self) -> str:
        self._last -= 100
        self.tick()
        return self.said[-1]


def test_without_a_terminal_a_long_silence_is_broken() -> None:
    lines = Lines()
    lines.tick()
    assert lines.said == []
    lines.take(RunStarted("r", "0.1", "q", "m", "m", "", {"max_turns": 30}, 1))
    lines.take(DataLoading(12_000, 34_000_000))
    assert lines.later().startswith("… loading: 12,000 documents, 34.0 MB · ")
    lines.take(CallStarted("0/turn1", "0", 0, "root", "m"))
    assert lines.later().startswith("… turn 1, thinking · 0 tokens")
    lines.take(CallsAsked("0", 1, 100))
    lines.take(CallStarted("0/1/a/0", "0", 1, "llm_query", "m"))
    assert "0 sub-calls done, 1 in flight, 99 waiting" in lines.later()


def test_letters_that_the_terminal_cannot_show_make_it_a_plain_one(
    model: str, data: Path, runs: Path
) -> None:
    words = ("ask", "which number?", data, "--model", model)
    shown = on_terminal(*words, runs=runs, environment={"PYTHONIOENCODING": "ascii"})
    assert shown.code == 0 and "\x1b" not in shown.raw and "it is 42" in shown.screen


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["ask", "--help"], ["doctor"]])
def test_a_full_disk_is_said_in_one_line(words: list[str], runs: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "abyme", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env={**os.environ, "ABYME_RUNS": str(runs)},
        )
    assert done.returncode == 1
    assert done.stderr == "abyme: cannot write to stdout: No space left on device\n"


def test_plain_lines_tell_whose_they_are() -> None:
    said: list[str] = []
    display = Plain(said.append, verbose=True)
    for event in tree.at_work():
        display.take(event)
    text = "\n".join(said)
    assert "    child 0.1 begins: how many in part 1?" in text
    assert "    child 0.1 complete: 57 · 1 turn, 33 tokens, 0.0 s" in text
    assert "    child 0.2 partial: child 0.2 ended partial: max_turns" in text
    assert "    sub-call of 0.1: leaf · 22 tokens" in text
    assert "the_childs_own" not in text and "turn 1 ·" not in text
    assert "  | the_roots_own = 1" in text
    lines = Lines()
    for event in tree.at_work():
        lines.take(event)
    assert "1 child at work, 2 waiting, 1 done, 1 failed" in lines.later()
