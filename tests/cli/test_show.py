"""`abyme show`: a run told again, on a terminal and through a pipe, whatever happened to it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from abyme import RLM, Limits
from abyme.cli.show import show, show_json
from abyme.errors import JournalError, ModelError
from abyme.journal.format import line_hash
from abyme.models.scripted import Scripted
from support.command import abyme
from support.runs import ask, cell, scripted_rlm

HOSTILE = "\x1b[31mred\x07 [bold]x[/bold] [link=http://x]y[/link] \u202egpj\u2066 a\rb"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
BATCH = "Does this part of the contract renew by itself? Part"


def note(x: int) -> int:
    """Add one."""
    return x + 1


def sub(request: Any) -> str:
    prompt = request.messages[-1].text
    if re.search(r"Part (8|17):", prompt):
        raise ModelError("HTTP 500: overloaded")
    return f"It does, said of {prompt[-8:]!r}."


REPLIES = (
    "I cut it into parts.\n\n"
    + cell(
        "parts = context.split(',')\n"
        f"r = llm_query_batched([f'{BATCH} {{i}}: ' + p * 300 for i, p in enumerate(parts)])\n"
        "for n in range(60): print('line', n)\n"
        f"print({HOSTILE!r})"
    ),
    cell("print(note(41), llm_query('one\\nquestion ' + '漢字' * 60))") + "\nand\n" + cell("1/0"),
    cell("import os; os._exit(3)"),
    "Let me think without code.",
    cell("print('unseen')\nFINAL('typed')"),
    cell("FINAL(context.split(',')[1] * 2, quotes=['part 1'])"),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in which much happens."""
    runs = tmp_path_factory.mktemp("runs")
    text = ",".join(f"part {n}" for n in range(40))
    answer = ask(runs, REPLIES, sub=sub, context=text, tools=[note])
    assert answer.status == "complete", answer.reason
    return runs / answer.run


def shown(folder: Path, **options: Any) -> list[str]:
    """The lines as they are put out."""
    lines: list[str] = []
    show(folder, lines.append, **options)
    return "\n".join(lines).split("\n")


def bare(lines: list[str]) -> list[str]:
    """The lines without colours."""
    return [STYLE.sub("", line) for line in lines]


def has(text: str, *parts: str) -> None:
    """All parts stand in the text, in this order."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} is not in what follows {text[max(0, at - 80) : at]!r}"
        at = found + len(part)


def test_a_run_is_told_in_order(told: Path) -> None:
    has(
        "\n".join(shown(told)),
        f"run {told.name} · ",
        "model: scripted",
        "question: what is it?",
        "data: 1 document",
        "sandbox: process, ",
        "── turn 1 · ",
        "I cut it into parts.",
        "cell 1 · done",
        "    parts = context.split",
        "llm_query → scripted · 40 calls (2 failed) · ",
        f"each begins “{BATCH}”",
        "├─  1 “… 0: part 0",
        " → “It does",
        "├─  9 ✗ “… 8:",
        "failed: HTTP 500: overloaded",
        "├─ … 30 more · ",
        "└─ 40 “… 39:",
        "  > line 0",
        "  > … ",
        "── turn 2 · ",
        "note · ",
        "└─ (x=41) → 42",
        "llm_query → scripted · ",
        "└─ “one question 漢字",
        "cell 3 · raised",
        "  ! ZeroDivisionError: division by zero",
        "── turn 3 · ",
        "the worker ended: ",
        "a fresh worker re-ran 3 earlier cells; lost: os",
        "── turn 4 · ",
        "Let me think without code.",
        "no code in this reply",
        "answer held for one turn, output was unseen: typed",
        "FINAL → part 1part 1",
        "── answer\npart 1part 1\n  text:1 ✓ verified",
        "complete · 6 turns · 45 calls · ",
        " MB peak · ",
        " s CPU",
    )


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_the_terminal_and_nothing_acts_there(told: Path, width: int) -> None:
    for options in ({}, {"turn": 1}, {"turn": 2}):
        lines = shown(told, width=width, **options)
        for line in bare(lines):
            assert cell_len(line) <= width, line
            assert all(letter.isprintable() for letter in line), line
    calls = [line for line in bare(shown(told, width=80)) if re.search(r"→ “It does.*tokens", line)]
    assert len(calls) == 8 and all(line.endswith(" s") for line in calls), "cut, and not wrapped"
    text = "\n".join(bare(shown(told, width=200)))
    assert r"\x1b[31mred\x07 [bold]x[/bold] [link=http://x]y[/link] \u202egpj\u2066 a\rb" in text


def test_plain_text_has_no_colours_and_the_same_words(told: Path) -> None:
    plain = shown(told)
    assert all(line.isprintable() for line in plain)
    kinds = re.compile(r"cell \d|limit|held|turn \d|> line \d|✗|failed|ZeroDivisionError|worker")
    words = [kinds.findall(line) for line in plain]
    on_terminal = [kinds.findall(line) for line in bare(shown(told, width=200))]
    assert [w for w in words if w] == [w for w in on_terminal if w]


def test_a_turn_in_full(told: Path) -> None:
    text = "\n".join(shown(told, turn=1))
    for number in range(40):
        assert f"{BATCH} {number}: " + f"part {number}" * 300 in text
    assert all(f"  > line {number}\n" in text for number in range(60))
    has(
        text, told.name, "the model was told:", "it replied:", "I cut it", "cell 1", "call 40 of 40"
    )
    assert "turn 2" not in text
    assert "✗ failed: HTTP 500: overloaded" in text
    assert "variables: " in "\n".join(shown(told, turn=2))


@pytest.mark.parametrize("turn", [0, -1, 7, 99])
def test_a_turn_that_is_not_there(told: Path, turn: int) -> None:
    lines: list[str] = []
    for tell in (show, show_json):
        with pytest.raises(JournalError, match=f"no turn {turn}: this run has 6 turns"):
            tell(told, lines.append, turn=turn)
    assert lines == []


def test_json_of_a_turn(told: Path) -> None:
    lines: list[str] = []
    show_json(told, lines.append, turn=2)
    events = [json.loads(line) for line in lines]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "MessageAdded" and kinds[-1] == "TurnEnded"
    assert {event["turn"] for event in events if "turn" in event} == {2}
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    whole: list[str] = []
    show_json(told, whole.append)
    assert len(whole) > len(lines) and json.loads(whole[-1])["event"] == "RunEnded"


def test_a_limit_and_the_last_call(runs: Path) -> None:
    limits = Limits(max_turns=1, max_seconds=60)
    answer = ask(runs, [cell("x = 1"), "my best guess"], limits=limits)
    folder = runs / answer.run
    has(
        "\n".join(shown(folder)),
        "── turn 1",
        "limit reached: max_turns: 1 of 1 turns are used",
        "── turn 2, the last call",
        "my best guess",
        "── answer",
        "partial: max_turns",
    )
    assert "my best guess" in "\n".join(shown(folder, turn=2))


def test_a_limit_that_no_call_follows_and_a_refused_batch(runs: Path) -> None:
    code = "try: llm_query_batched(['q'] * 50)\nexcept Exception as e: print(e)"
    answer = ask(runs, [cell(code), cell("FINAL(1)")], limits=Limits(max_calls=9, max_seconds=60))
    refused = "\n".join(shown(runs / answer.run))
    has(refused, "cell 1", "llm_query", "└─ ✗ refused: 50 prompts, but only", "turn 2")
    failed = ask(runs, [ModelError("HTTP 401: bad key")])
    has("\n".join(shown(runs / failed.run)), "turn 1", "✗ failed: HTTP 401: bad key", "failed:")


def test_a_journal_cut_anywhere_is_shown_as_far_as_it_goes(told: Path, tmp_path: Path) -> None:
    whole = (told / "journal.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "blobs").symlink_to(told / "blobs")
    for number in range(0, len(lines), 7):
        (cut / "journal.jsonl").write_bytes(b"".join(lines[:number]) + lines[number][:30])
        os.utime(cut / "journal.jsonl", (1e9, 1e9))
        text = "\n".join(shown(cut))
        assert "The journal ends here" in text and "the run was killed" in text
        assert ("── turn 1" in text) == any(b'"0/turn1"' in line for line in lines[:number])
    started = next(n for n, line in enumerate(lines) if b'"CellStarted"' in line)
    (cut / "journal.jsonl").write_bytes(b"".join(lines[: started + 4]))
    os.utime(cut / "journal.jsonl", (1e9, 1e9))
    has("\n".join(shown(cut, width=80)), "cell 1", "it never ended", "no reply is recorded")


def test_a_run_that_goes_on_is_shown_as_such(runs: Path) -> None:
    seen: list[str] = []
    full: list[str] = []

    def sub(request: Any) -> str:
        if request.messages[-1].text == "q19":
            (folder,) = runs.iterdir()
            seen.extend(shown(folder))
            full.extend(shown(folder, turn=1, width=80))
        return "yes"

    def root(request: Any) -> str:
        (folder,) = runs.iterdir()
        seen.extend(shown(folder))
        return cell("r = llm_query_batched([f'q{i}' for i in range(20)])\nFINAL(len(r))")

    scripted_rlm(runs, root, sub).completion("what is it?", "some text")
    text = "\n".join(seen)
    has(text, "── turn 1", "  in flight", "── no answer yet", "The run is still going.")
    has(text, "cell 1 · it is running", "llm_query", "20 calls", " in flight)", "→ in flight")
    has("\n".join(bare(full)), "cell 1 · it is running", "in flight")
    for gone in ("no reply is recorded", "was killed", "it never ended"):
        assert gone not in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb'"at":[0-9.]+', b'"at":NaN'),
        (rb'"at":[0-9.]+', b'"at":1e300'),
        (rb'"at":[0-9.]+', b'"at":[]'),
        (rb'"documents":\d+,"bytes":\d+', b'"documents":1,"bytes":' + b"9" * 400),
        (rb'"question":"[^"]*"', b'"question":' + b"[" * 100_000),
    ],
)
def test_damage_is_one_line(told: Path, tmp_path: Path, old: bytes, new: bytes) -> None:
    whole = (told / "journal.jsonl").read_bytes()
    changed = re.sub(old, new, whole, count=1)
    assert changed != whole
    lines = changed.splitlines()
    for number in range(1, len(lines)):  # the chain holds, and only the value is odd
        named = f'"prev":"{line_hash(lines[number - 1])}"'.encode()
        lines[number] = re.sub(rb'"prev":"\w+"', named, lines[number], count=1)
    folder = tmp_path / "20260101-000000-abcdef"
    folder.mkdir()
    (folder / "blobs").symlink_to(told / "blobs")
    (folder / "journal.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    done = command("show", folder.name, runs=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "journal.jsonl" in done.stderr
    assert "a fault of its own" not in done.stderr and "does not follow" not in done.stderr


def test_a_pipe_for_a_journal_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "20260101-000000-abcdef"
    folder.mkdir()
    os.mkfifo(folder / "journal.jsonl")
    done = command("show", folder.name, runs=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "it is not a regular file" in done.stderr


def test_long_lines_hang_and_a_count_never_stands_for_one(told: Path, runs: Path) -> None:
    rows = bare(shown(told, width=40))
    head = rows[: next(n for n, row in enumerate(rows) if row.startswith("model: "))]
    assert len(head) > 1 and all(row.startswith(" " * 10) for row in head[1:])
    closing = rows[next(n for n, row in enumerate(rows) if row.startswith("complete · ")) :]
    run = next(n for n, row in enumerate(closing) if row.startswith("run "))
    closing, named = closing[:run], closing[run:]
    assert len(closing) > 1 and all(row.startswith("  ") for row in [*closing[1:], *named[1:]])
    assert told.name in named[0]
    words = " ".join(" ".join(closing).split())
    assert re.search(r"\d MB peak · [\d.]+ s CPU$", words)

    def fails_often(request: Any) -> str:
        if int(request.messages[-1].text[1:]) in range(5, 16):
            raise ModelError("no")
        return "yes"

    code = cell("r = llm_query_batched([f'q{i}' for i in range(20)])\nFINAL(len(r))")
    text = "\n".join(shown(runs / ask(runs, [code], sub=fails_often).run))
    assert "more" not in text and text.count("✗") == 11 and "“q16”" in text


def test_many_calls_take_few_lines(runs: Path) -> None:
    def fails_often(request: Any) -> str:
        if request.messages[-1].text.endswith(("0", "5")):
            raise ModelError("no")
        return "yes"

    code = cell("r = llm_query_batched([f'q{i}' for i in range(300)])\nFINAL(len(r))")
    text = shown(runs / ask(runs, [code], sub=fails_often).run)
    assert len(text) < 50
    has("\n".join(text), "300 calls (60 failed)", "… 233 more · ", "… 49 more that failed")


def test_control_characters_in_names_and_questions(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL(context['a\\x1b[2Jb'], quotes=['quoted'])")],
                 context={"a\x1b[2Jb": f"{HOSTILE} quoted", "other": "x"})  # fmt: skip
    for width in (None, 80):
        lines = bare(shown(runs / answer.run, width=width))
        assert all(line.isprintable() for line in lines)
        assert any(r"a\x1b[2Jb:1 ✓ verified" in line for line in lines)


# -- the command ---------------------------------------------------------------------------------


def command(*arguments: str, runs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with its output in pipes."""
    return subprocess.run(
        [sys.executable, "-m", "abyme", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ABYME_RUNS": str(runs), **environment},
    )


def on_terminal(*arguments: str, runs: Path, width: int = 80, **environment: str) -> str:
    """Run the command on a terminal of this width; what it put out."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    unset = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "COLORTERM"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    process = subprocess.Popen(
        [sys.executable, "-m", "abyme", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env={**inherited, "TERM": "xterm-256color", "ABYME_RUNS": str(runs), **environment},
    )
    os.close(slave)
    out = b""
    deadline = time.monotonic() + 60
    try:
        while select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            chunk = os.read(master, 65536)
            if not chunk:
                break
            out += chunk
    except OSError:
        pass  # Linux says the end of a terminal so
    finally:
        os.close(master)
        if time.monotonic() > deadline:
            process.kill()
        process.wait(timeout=30)
    return out.decode().replace("\r\n", "\n")


def test_the_command_on_a_terminal(told: Path) -> None:
    out = on_terminal("show", told.name, runs=told.parent)
    assert "\x1b" not in STYLE.sub("", out), "colours are all that acts"
    assert re.search(r"\x1b\[[0-9;]*3[0-9]|\x1b\[[0-9;]*9[0-9]", out), "there are colours"
    rows = STYLE.sub("", out).split("\n")
    assert max(map(cell_len, rows)) <= 80
    assert any(re.fullmatch(r"── turn 1 ─+ .* s ──", row) and len(row) == 80 for row in rows)


def test_no_color_is_heeded(told: Path) -> None:
    out = on_terminal("show", told.name, runs=told.parent, NO_COLOR="1")
    assert not re.search(r"\x1b\[(?:[0-9]+;)*(?:3|9)[0-9]m", out)
    assert "── turn 1 ─" in STYLE.sub("", out)


def test_without_a_run_it_is_the_newest(runs: Path) -> None:
    none = command("show", runs=runs)
    assert none.returncode == 2 and none.stderr.count("\n") == 1
    assert str(runs) in none.stderr and "abyme ask" in none.stderr
    ask(runs, [cell("FINAL(1)")])
    newest = ask(runs, [cell("FINAL(2)")]).run
    done = command("show", runs=runs)
    assert done.returncode == 0 and done.stdout.startswith(f"run {newest} ")


def test_wrong_turns_and_closed_pipes_are_quiet(told: Path) -> None:
    wrong = command("show", told.name, "--turn", "12", runs=told.parent)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "abyme: there is no turn 12: this run has 6 turns\n"
    line = f"{sys.executable} -m abyme show {told.name} | head -1"
    environment = {**os.environ, "ABYME_RUNS": str(told.parent)}
    head = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, env=environment
    )
    assert head.stdout.startswith(f"run {told.name}") and head.stderr == ""


def test_json_by_the_command_can_be_read_line_by_line(told: Path) -> None:
    done = command("show", told.name, "--json", "--turn", "1", runs=told.parent)
    events = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert events and all(event["event"] != "RunStarted" for event in events)


def test_a_limit_and_what_came_after_it(runs: Path) -> None:
    replies = [cell("print(1)"), cell("print(2)"), cell("FINAL('three')")]
    first = scripted_rlm(runs, replies, limits=Limits(max_turns=1)).completion("q?", "some text")
    rlm = scripted_rlm(runs, replies)
    rlm.resume(first.run)
    rlm.session(run=first.run).ask("and then?")
    rows = shown(runs / first.run)
    heads = [row for row in rows if row.startswith("── ")]
    assert [head.split(" · ")[0] for head in heads] == [
        "── turn 1", "── turn 2, the last call", "── turn 2", "── turn 3", "── answer",
        "── question 2", "── turn 4", "── turn 5", "── turn 6", "── answer",
    ]  # fmt: skip
    (resumed,) = [row for row in rows if "resumed here" in row]
    assert "it had ended partial (max_turns: 1 of 1 turns are used; raise it" in resumed
    assert rows.index("three") < rows.index("and then?")
    lines: list[str] = []
    show_json(runs / first.run, lines.append)
    told = [json.loads(line) for line in lines]
    assert sum(event["event"] == "RunEnded" for event in told) == 3


def test_a_batch_that_was_cut_off_is_one_batch(runs: Path) -> None:
    code = "r = llm_query_batched(['a', 'b', 'c'])\nFINAL(r)"
    run = ask(runs, [cell(code)], lambda request: "said " + request.messages[-1].text).run
    journal = runs / run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line)["event"] for line in lines]
    cut = [n for n, kind in enumerate(kinds) if kind == "CallEnded"][2]
    journal.write_bytes(b"".join(lines[:cut]))
    rlm = scripted_rlm(runs, [cell(code)], lambda request: "said " + request.messages[-1].text)
    assert rlm.resume(run).value == ["said a", "said b", "said c"]
    text = "\n".join(shown(runs / run))
    assert text.count("── turn 1") == 1 and text.count("cell 1 · ") == 1
    assert "resumed here: it was killed in this turn; asked again, perhaps billed twice" in text
    assert "cut off, and run again" in text and "llm_query → scripted · 3 calls (" in text
    assert re.search(r"\(\d asked again\)", text)


def test_a_change_of_model_is_told(runs: Path) -> None:
    limits = Limits(max_turns=1, max_seconds=60)
    answer = ask(runs, [cell("n = 1"), "so far"], limits=limits)
    other = RLM(Scripted(["", cell("FINAL(n)")], name="another"), runs=runs)
    resumed, forked = other.resume(answer.run), other.fork(answer.run, 1)
    for run in (resumed.run, forked.run):
        lines: list[str] = []
        show(runs / run, lines.append)
        assert sum("from here on it asks another" in line for line in lines) == 1, lines


def test_a_question_that_holds_a_text_is_shown_by_its_beginning(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(1)")])
    answer = rlm.completion("How many words? " + "word " * 50_000, "text")
    shown = abyme("show", answer.run, runs=runs).stdout
    assert "How many words? word" in shown and "more characters" in shown
    assert len(shown) < 3_000
