"""The command as a user meets it: answers, exit codes, and one clear line for every error."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest

from support.command import abyme, replies
from support.runs import cell
from support.stub import Drop, Garbage, Hang, Html, Reply, Status, Stub, Truncate, reader

STDLIB_QUESTION = "Which function is a least-recently-used cache decorator?"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("alpha\nbeta says 42\n")
    return path


def test_the_answer_is_on_stdout_and_the_rest_on_stderr(
    tmp_path: Path, runs: Path, data: Path
) -> None:
    model = replies(tmp_path, cell("print(len(context))"), cell("FINAL(context.split()[-1])"))
    done = abyme("ask", "which number?", data, "--model", model, runs=runs)
    assert (done.returncode, done.stdout) == (0, "42\n")
    err = done.stderr.splitlines()
    assert any(line.startswith("data: 1 document, 19 bytes") for line in err)
    assert not any("not confined" in line for line in err)
    assert any("may spend: $5" in line and "1,000 calls" in line for line in err)
    assert err[-2].startswith("complete · 2 turns · 2 calls")
    assert re.fullmatch(r"run \d{8}-\d{6}-[0-9a-f]{6} · head [0-9a-f]{32}", err[-1])
    quiet = abyme("ask", "which number?", data, "--model", model, "-q", runs=runs)
    assert (quiet.stdout, quiet.stderr) == ("42\n", "")


def test_unsafe_local_is_loud_here_and_in_the_journal(
    tmp_path: Path, runs: Path, data: Path
) -> None:
    model = replies(tmp_path, cell("import os; FINAL(os.listdir('/') != [])"))
    done = abyme("ask", "q?", data, "--model", model, "--json", runs=runs)
    answer = json.loads(done.stdout)
    assert answer["status"] == "partial" and "seccomp" in answer["layers"]
    done = abyme("ask", "q?", data, "--model", model, "--json", "--unsafe-local", runs=runs)
    answer = json.loads(done.stdout)
    assert answer["value"] is True and answer["layers"] == []
    assert "warning: --unsafe-local: code is not confined" in done.stderr
    quiet = abyme("ask", "q?", data, "--model", model, "-q", "--unsafe-local", runs=runs)
    assert quiet.stderr.startswith("warning: --unsafe-local: code is not confined")
    assert "not confined" in abyme("show", answer["run"], runs=runs).stdout


def test_json_has_the_answers_fields(tmp_path: Path, runs: Path, data: Path) -> None:
    code = "FINAL({'n': 42, 's': chr(0xd800)}, quotes=['beta says 42'])"
    model = replies(tmp_path, cell(code))
    done = abyme("ask", "n?", data, "--model", model, "--json", runs=runs)
    answer = json.loads(done.stdout)
    assert answer["value"] == {"n": 42, "s": "\ufffd"}  # JSON has no lone surrogates
    assert answer["status"] == "complete" and answer["cost"] == 0.0
    quote = answer["quotes"][0]
    assert (quote["document"], quote["line"], quote["verified"]) == ("notes.txt", 2, True)
    assert set(answer) >= {"text", "value", "status", "reason", "quotes", "usage", "cost", "run"}


def test_show_tells_a_run(tmp_path: Path, runs: Path, data: Path) -> None:
    model = replies(
        tmp_path,
        cell("print(llm_query('what is it, \u001b[31m?'))"),
        cell("1/0"),
        cell("FINAL(budget()['calls']['used'])"),
        sub=["a thing"],
    )
    asked = abyme("ask", "how many?", data, "--model", model, "--json", runs=runs)
    run = json.loads(asked.stdout)["run"]
    shown = abyme("show", run[:12], runs=runs)
    assert shown.returncode == 0
    for part in ("question: how many?", "llm_query → ", "a thing", "ZeroDivisionError", "complete"):
        assert part in shown.stdout
    assert "\u001b" not in shown.stdout, "what a run holds cannot act on the terminal"
    events = [
        json.loads(line) for line in abyme("show", run, "--json", runs=runs).stdout.split("\n")[:-1]
    ]
    assert events[0]["event"] == "RunStarted" and events[-1]["event"] == "RunEnded"
    assert [event["seq"] for event in events] == list(range(len(events)))


def test_partial_has_its_exit_code(tmp_path: Path, runs: Path, data: Path) -> None:
    model = replies(tmp_path, cell("x = 1"), "my best guess")
    partial = abyme("ask", "q", data, "--model", model, "--max-turns", "1", "-q", runs=runs)
    assert (partial.returncode, partial.stdout) == (3, "my best guess\n")
    assert partial.stderr.startswith("partial: max_turns: 1 of 1 turns are used")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("nosuch.txt", None, "nosuch.txt"),
        ("empty.txt", b"", "empty"),
        ("a.bin", b"\x7fELF\x00\x01\x02" * 50, "a program (ELF), not text"),
        ("a.gz", b"\x1f\x8b\x08\x00" * 50, "gzip"),
        ("a.pdf", b"%PDF-1.7\n" * 50, "PDF"),
        ("dir/", None, "no readable text"),
    ],
)
def test_data_that_cannot_be_loaded_is_one_line_and_exit_2(
    tmp_path: Path, runs: Path, name: str, content: bytes | None, line: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name.endswith("/"):
        path.mkdir()
    done = abyme("ask", "q", path, "--model", replies(tmp_path, cell("FINAL(1)")), "-q", runs=runs)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and line in done.stderr
    assert done.stderr.startswith("abyme: ")
    assert not runs.exists() or not list(runs.iterdir())


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("caf\xe9 au lait, s'il vous pla\xeet\n".encode("latin-1") * 20, "latin-1"),
        ("\ufeffgr\u00fc\u00df dich\r\n".encode("utf-16"), "utf-16-le"),
    ],
)
def test_another_encoding_is_read_exactly_and_said(
    tmp_path: Path, runs: Path, content: bytes, encoding: str
) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(content)
    model = replies(tmp_path, cell("FINAL(context)"))
    done = abyme("ask", "q", path, "--model", model, "--json", runs=runs)
    assert json.loads(done.stdout)["text"] == content.decode(encoding).removeprefix("\ufeff")
    assert f"not UTF-8: 1 ({encoding})" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--model", "no-such-model"], "unknown model"),
        (["--model", "openai:gpt-5-mini"], "OPENAI_API_KEY"),
        (["--model", "scripted:/nosuch.json"], "nosuch.json"),
        (["--model", "m", "--base-url", "ftp://x"], "http"),
        (["--model", "reader", "--max-turns", "0"], "--max-turns must be above 0"),
        (["--model", "reader", "--max-cost", "-1"], "--max-cost must be above 0"),
        (["--model", "reader", "--max-seconds", "nan"], "--max-seconds must be above 0"),
        (["--model", "reader", "--max-depth", "9"], "--max-depth must be at most 8"),
        (["--model", "reader", "--max-width", "x"], "--max-width must be a number"),
        (["--model", "reader", "--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage_is_said_and_exits_2(
    runs: Path, data: Path, arguments: list[str], line: str
) -> None:
    done = abyme("ask", "q", data, *arguments, runs=runs)
    assert done.returncode == 2 and done.stdout == ""
    assert line.lower() in done.stderr.lower()
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("abyme: ")


def test_an_empty_question_and_a_missing_run_are_said(runs: Path, data: Path) -> None:
    assert abyme("ask", " ", data, "--model", "reader", runs=runs).returncode == 2
    missing = abyme("show", "2020", runs=runs)
    assert missing.returncode == 2 and "there is no run '2020'" in missing.stderr


QUICK = ["--max-seconds", "3", "--call-seconds", "2", "-q"]
PATIENT = ["--max-seconds", "12", "--call-seconds", "9", "-q"]


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        (Status(401, {"error": {"message": "bad key"}}), 1, ["401", "OPENAI_API_KEY"]),
        (Status(404, {"error": {"message": "no model m"}}), 1, ["404", "m"]),
        (Status(429, "slow down", {"Retry-After": "1"}), 1, ["429"]),
        (Status(500, "oops"), 1, ["500"]),
        (Html(), 1, ["HTML"]),
        (Garbage(), 1, ["not"]),
        (Reply(""), 1, ["empty"]),
        (Drop(), 1, ["drop"]),
        (Truncate(), 1, ["drop"]),
        (Hang(), 1, ["no reply"]),
        (
            Status(
                400, {"error": {"code": "context_length_exceeded", "message": "maximum context"}}
            ),
            1,
            ["window"],
        ),
    ],
    ids=lambda value: (
        getattr(value, "__class__", type(value)).__name__ + str(getattr(value, "code", ""))
    ),
)
def test_an_endpoint_that_fails_is_one_clear_line(
    runs: Path, data: Path, action: Any, code: int, words: list[str]
) -> None:
    limits = QUICK if isinstance(action, Hang) else PATIENT
    with Stub(lambda request: action) as stub:
        done = abyme(
            "ask", "q", data, "--model", "m", "--base-url", stub.url, *limits, runs=runs,
            OPENAI_API_KEY="sk-test-key-123456",
        )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("failed: ")
    for word in words:
        assert word.lower() in done.stderr.lower()
    assert "sk-test-key" not in done.stderr


def test_an_endpoint_that_is_not_there(runs: Path, data: Path) -> None:
    done = abyme(
        "ask", "q", data, "--model", "m", "--base-url", "http://127.0.0.1:9/v1", *QUICK, runs=runs
    )
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr and len(done.stderr.splitlines()) == 1
    assert "is the server running?" in done.stderr and "--call-seconds" not in done.stderr


def test_a_reply_cut_at_the_limit_is_said_to_the_model(runs: Path, data: Path) -> None:
    def script(request: Any) -> Any:
        if len(request.messages) == 2:
            return Reply(cell("print(1)"), finish_reason="length")
        return cell("FINAL(2)")

    with Stub(script) as stub:
        done = abyme("ask", "q", data, "--model", "m", "--base-url", stub.url, "-q", runs=runs)
        assert done.stdout == "2\n"
        assert "cut at its limit of about" in stub.requests[1].prompt


def test_a_run_over_http_with_429_and_500_on_the_way(runs: Path, data: Path) -> None:
    seen = 0

    def script(request: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen in (1, 4):
            return Status(429, "", {"Retry-After": "0"})
        if seen == 2:
            return Status(503, "busy")
        if request.messages[0]["role"] == "user":
            return "sub says " + request.prompt
        return cell("FINAL(r)") if len(request.messages) > 2 else cell("r = llm_query('hi')")

    with Stub(script) as stub:
        done = abyme("ask", "q", data, "--model", "m", "--base-url", stub.url, "--json", runs=runs)
    answer = json.loads(done.stdout)
    assert answer["text"] == "sub says hi" and answer["cost"] is None
    assert answer["usage"]["calls"] == 3 and "attempt 1 failed" in done.stderr


def test_ctrl_c_gives_the_draft_and_130(tmp_path: Path, runs: Path, data: Path) -> None:
    model = replies(
        tmp_path, cell("answer['content'] = 'so far'"), cell("print('spin')\nwhile True: pass")
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "abyme", "ask", "q", str(data), "--model", model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ABYME_RUNS": str(runs)},
    )
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/journal.jsonl")) or "spin" not in _journal(runs):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "so far\n")
    assert "partial: interrupted" in err and "Traceback" not in err


def _journal(runs: Path) -> str:
    return next(runs.glob("*/journal.jsonl")).read_text()


def test_a_closed_pipe_is_no_traceback(tmp_path: Path, runs: Path, data: Path) -> None:
    model = replies(tmp_path, cell("FINAL('x' * 1_000_000)"))
    line = f"{sys.executable} -m abyme ask q {data} --model {model} -q | head -c 10"
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        env={**os.environ, "ABYME_RUNS": str(runs)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("x" * 10, "")


def test_help_and_version(runs: Path) -> None:
    assert abyme("--version", runs=runs).stdout.startswith("abyme 0.")
    assert "ask" in abyme("--help", runs=runs).stdout
    assert "--max-cost" in abyme("ask", "--help", runs=runs).stdout


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_a_stdout_that_cannot_be_written_is_one_line(
    tmp_path: Path, runs: Path, data: Path, where: str
) -> None:
    model = replies(tmp_path, cell("FINAL('done')"))
    done = shell(f"{sys.executable} -m abyme ask q {data} --model {model} -q {where}", runs)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "cannot write to stdout" in done.stderr


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2> >(head -c 1 >/dev/null)"])
def test_a_stderr_that_cannot_be_written_costs_nothing(
    tmp_path: Path, runs: Path, data: Path, where: str
) -> None:
    model = replies(tmp_path, cell("FINAL('done')"))
    done = shell(f"{sys.executable} -m abyme ask q {data} --model {model} {where}", runs)
    assert (done.returncode, done.stdout) == (0, "done\n")


def shell(line: str, runs: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash."""
    environment = {**os.environ, "ABYME_RUNS": str(runs)}
    environment.pop("PYTHONUNBUFFERED", None)  # what cannot be written would not be kept
    command = ["bash", "-c", line]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_early_signal_is_no_traceback(runs: Path, data: Path, number: int) -> None:
    for seconds in (0.1, 0.2, 0.3):
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "abyme", "ask", "q", str(data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ABYME_RUNS": str(runs)},
        )
        # Before its first line Python is not yet ours; click is imported behind it.
        assert process.stderr is not None
        while "click." not in (line := process.stderr.readline()):
            assert line, "it ended before"
        time.sleep(seconds / 10)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode in (2, 130) and "Traceback" not in err


@pytest.mark.parametrize("run", ["/nonexistent", "a" * 5000, "..", "*"])
def test_a_run_that_cannot_be_is_one_line(runs: Path, run: str) -> None:
    done = abyme("show", run, runs=runs)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "there is no run" in done.stderr
    assert abyme("show", "x", "--runs", "~nosuchuser/x", runs=runs).returncode == 2


def test_the_reader_by_itself_and_over_http_say_the_same(tmp_path: Path, runs: Path) -> None:
    library = tmp_path / "lib"
    library.mkdir()
    for name in ("functools", "heapq", "textwrap", "bisect", "shutil"):
        source = Path(sysconfig.get_path("stdlib")) / f"{name}.py"
        (library / source.name).write_bytes(source.read_bytes())
    ask = ("ask", STDLIB_QUESTION, library, "--json")
    direct = json.loads(abyme(*ask, "--model", "reader", runs=runs).stdout)
    with Stub(reader) as stub:
        over = abyme(*ask, "--model", "any", "--base-url", stub.url, runs=runs)
    answer = json.loads(over.stdout)
    assert "def lru_cache(" in direct["text"] and direct["quotes"][0]["document"] == "functools.py"
    assert (answer["text"], answer["quotes"]) == (direct["text"], direct["quotes"])
    for each in (direct, answer):
        assert "def lru_cache(" in abyme("show", each["run"], runs=runs).stdout
