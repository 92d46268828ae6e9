"""``abyme doctor``: what it finds, what it never shows, and when it says that all is well."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from abyme.cli import doctor
from abyme.cli.doctor import Report, diagnosis
from abyme.cli.doctor.diagnosis import PROBLEM, WARNING
from abyme.cli.doctor.probes import Tried
from abyme.errors import SandboxError
from abyme.sandbox.zygote import Zygote
from support.stub import Status, Stub

LISTED = Status(200, json.dumps({"data": [{"id": "m"}, {"id": "bge-m3"}]}))
KEY = "sk-secret-0123456789"


def look(tmp_path: Path, user: str = "", check: bool = False, **environ: str) -> Report:
    base = {"ABYME_LOCAL_SERVERS": "", "ABYME_RUNS": str(tmp_path / "runs")}
    if user:
        file = tmp_path / "user.toml"
        file.write_text(user)
        file.chmod(0o600)
        base["ABYME_CONFIG"] = str(file)
    return doctor.examine({**base, **environ}, tmp_path, check=check)


def said(report: Report, section: str, name: str) -> str:
    (items,) = (part.items for part in report.sections if part.name == section)
    return " | ".join(f"{item.state}: {item.text}" for item in items if item.name == name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """One test starts a worker; the others need none. No file of the machine's user is read."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    if "worker" not in request.node.name and "command" not in request.node.name:
        monkeypatch.setattr(diagnosis, "try_worker", lambda sandbox: Tried(0.1, ("seccomp",)))


def test_nothing_configured_is_well_and_says_what_to_do(tmp_path: Path) -> None:
    report = look(tmp_path)
    assert report.ready
    assert said(report, "model", "model") == "ok: reader"
    assert said(report, "model", "why").endswith("it is no language model")
    assert said(report, "model", "price") == "ok: free"
    assert said(report, "configuration", "files read") == "ok: none"
    assert said(report, "configuration", "not there") == f"ok: {tmp_path}/home/abyme/abyme.toml"
    assert said(report, "configuration", "OPENAI_API_KEY") == "ok: not set"
    assert said(report, "local servers", "looked at") == "ok: none: local_servers is empty"
    assert said(report, "sandbox", "layers") == "ok: seccomp"
    assert "start a local server" in report.next[0] and "abyme init" in report.next[1]


def test_the_text_fits_and_is_aligned(tmp_path: Path) -> None:
    text = doctor.as_text(look(tmp_path, ABYME_MODLE="x"))
    lines = text.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    assert "  ! ABYME_MODLE     warning: is not known: did you mean ABYME_MODEL?" in lines
    assert "    python          " + ".".join(map(str, sys.version_info[:3])) in lines
    assert lines[0] == "versions" and "next:" in lines and "\x1b" not in text


def test_a_worker_is_really_started(tmp_path: Path) -> None:
    report = look(tmp_path)
    line = said(report, "sandbox", "worker")
    assert re.fullmatch(r"ok: starts, runs a cell and ends in \d+\.\d\d s", line)


def test_a_worker_that_does_not_start_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> Any:
        raise SandboxError("cannot start the worker: no memory")

    monkeypatch.setattr(Zygote, "start", fail)
    report = look(tmp_path)
    assert not report.ready
    assert said(report, "sandbox", "worker").startswith("problem: cannot start the worker: no mem")
    assert report.next[0].startswith("put this right: worker: cannot start")
    assert "  ✗ worker          problem: cannot start" in doctor.as_text(report)


def test_values_are_shown_with_their_origin(tmp_path: Path) -> None:
    user = f'base_url = "http://us:{KEY}@h.example/v1"\napi_key = "{KEY}"\nexclude = ["a", "b"]\n'
    limits = 'max_cost = 2\nmax_calls = "none"'
    (tmp_path / "abyme.toml").write_text(f'model = "m"\n[limits]\n{limits}')
    environ = {"ABYME_MAX_TOKENS": "none", "ABYME_PRICE": "1,2", "OPENAI_API_KEY": KEY}
    report = look(tmp_path, user, **environ)  # type: ignore[arg-type]
    file = f"{tmp_path}/user.toml"
    for name, text in {
        "files read": f"./abyme.toml, {file}",
        "model": "m (./abyme.toml)",
        "max_cost": "2 (./abyme.toml)",
        "max_tokens": "no limit (ABYME_MAX_TOKENS)",
        "base_url": f"http://h.example/v1 with a login ({file})",
        "api_key": f"set ({file})",
        "exclude": f"a, b ({file})",
        "price": "$1 in, $2 out, for a million tokens (ABYME_PRICE)",
        "local_servers": "none (ABYME_LOCAL_SERVERS)",
        "OPENAI_API_KEY": "set",
    }.items():
        assert said(report, "configuration", name) == f"ok: {text}"
    assert said(report, "configuration", "max_calls") == (
        'warning: ./abyme.toml asks for "none", more than your own 1000: not counted'
    )
    assert said(report, "model", "model") == "ok: m at http://h.example/v1"
    assert said(report, "model", "why") == "ok: set by ./abyme.toml"
    assert said(report, "model", "key") == f"ok: api_key in {file} is sent"
    assert said(report, "model", "price").endswith("$2 out, for a million tokens, as set")
    assert said(report, "model", "window").startswith("ok: 32,000 tokens")
    assert report.next == ['ask: abyme ask "What is this about?" FILES…']
    for text in (doctor.as_text(report), doctor.as_data(report)):
        assert "sk-" not in text and KEY[-6:] not in text


@pytest.mark.parametrize(
    ("user", "environ"),
    [
        (f'api_key = "{KEY} x"\nmodel = "openai:gpt-5"', {}),
        (f'base_url = "ftp://us:{KEY}@h/v1"\nmodel = "m"', {}),
        (f'base_url = "ftp://us:{KEY}@h/v1"', {}),
        (f'base_url = "http://us:{KEY}@h:x/v1"\nmodel = "m"', {}),
        (f'base_url = "http://us:{KEY}@[h/v1"\nmodel = "m"', {}),
        (f'api_key = ["{KEY}"]', {}),
        (f'api_key = "{KEY}', {}),
        (f'api_key = "{KEY}"\nzzz = 1', {}),
        (f'api_key_env = "{KEY}"', {}),
        (f'model = "{KEY}"', {}),
        (f"{KEY} = 1", {}),
        (f"[limits]\n{KEY} = 1", {}),
        (f"[{KEY}]\n[{KEY}]", {}),
        ("", {"OPENAI_API_KEY": KEY, "ABYME_MODEL": "gtp-5"}),
        ("", {"OPENAI_API_KEY": f"{KEY} x", "ABYME_MODEL": "gpt-5"}),
        ("", {"OPENAI_BASE_URL": f"http://{KEY}@127.0.0.1:9/v1"}),
    ],
)
def test_no_problem_shows_a_key(tmp_path: Path, user: str, environ: dict[str, str]) -> None:
    report = look(tmp_path, user, check=True, **environ)
    assert not report.ready
    for text in (doctor.as_text(report), doctor.as_data(report)):
        assert "sk-secret" not in text and KEY[-6:] not in text


def test_what_cannot_be_read_is_the_first_thing_to_put_right(tmp_path: Path) -> None:
    (tmp_path / "abyme.toml").write_text('modle = "m"')
    report = look(tmp_path)
    line = "./abyme.toml: modle is not known in this version: did you mean model?"
    assert said(report, "configuration", "settings") == f"problem: {line}"
    assert not report.ready and report.next == [f"put this right: settings: {line}"]


def test_a_file_that_is_named_and_not_there_is_a_problem(tmp_path: Path) -> None:
    report = look(tmp_path, ABYME_CONFIG=str(tmp_path / "typo.toml"))
    assert "there is no such file" in said(report, "configuration", "settings")
    assert not report.ready


def test_a_key_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    look(tmp_path, f'api_key = "{KEY}"')
    file = tmp_path / "user.toml"
    file.chmod(0o644)
    report = look(tmp_path, ABYME_CONFIG=str(file))
    assert "others can read it: chmod 600" in said(report, "configuration", "key")
    assert report.ready


def test_a_local_server_is_found_and_used(tmp_path: Path) -> None:
    with Stub(lambda request: LISTED) as stub:
        report = look(tmp_path, ABYME_LOCAL_SERVERS=stub.url, OPENAI_API_KEY=KEY)
        assert all("authorization" not in request.headers for request in stub.requests)
    assert said(report, "local servers", f"127.0.0.1:{stub.port}") == f"ok: {stub.url}: m, bge-m3"
    assert said(report, "model", "model") == f"ok: m at {stub.url}"
    assert said(report, "model", "key") == "ok: none is sent"
    assert said(report, "model", "price").startswith(f"{WARNING}: not known: costs are not counted")
    assert report.ready and "export ABYME_MODEL=m" in report.next[0]


def test_a_server_without_a_model_is_told_apart(tmp_path: Path) -> None:
    with Stub(lambda request: Status(200, '{"data": []}')) as stub:
        report = look(tmp_path, ABYME_LOCAL_SERVERS=stub.url)
    assert said(report, "local servers", f"127.0.0.1:{stub.port}").endswith(": no model yet")
    assert report.next[0] == f"give 127.0.0.1:{stub.port} a model: see its manual"


def test_check_asks_the_endpoint_with_its_key(tmp_path: Path) -> None:
    with Stub(lambda request: LISTED) as stub:
        environ: Any = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": KEY}
        report = look(tmp_path, ABYME_MODEL="m", **environ)
        assert said(report, "model", "check") == "" and stub.requests == []
        report = look(tmp_path, check=True, ABYME_MODEL="m", **environ)
        listed = f"{stub.url} answers and lists 2 models"
        assert said(report, "model", "check") == f"ok: {listed}, m too"
        assert stub.requests[0].headers["authorization"] == f"Bearer {KEY}"
        other = look(tmp_path, check=True, ABYME_MODEL="openai:x", **environ)
        assert said(other, "model", "check") == f"warning: {listed}, but not x"
    gone = look(tmp_path, check=True, ABYME_MODEL="m", **environ)
    assert said(gone, "model", "check").startswith(f"{PROBLEM}: cannot reach {stub.url}")
    with Stub(lambda request: Status(401, "no")) as stub:
        environ["OPENAI_BASE_URL"] = stub.url
        refused = look(tmp_path, check=True, ABYME_MODEL="m", **environ)
    assert said(refused, "model", "check").endswith("does not accept the key (401)")
    assert not refused.ready


def test_without_check_nothing_leaves_this_machine(tmp_path: Path) -> None:
    report = look(tmp_path, OPENAI_BASE_URL="http://192.0.2.1/v1", OPENAI_API_KEY=KEY)
    assert "abyme ask will ask http://192.0.2.1/v1 what it serves" in said(report, "model", "model")
    assert report.ready and report.next
    named = look(tmp_path, ABYME_MODEL="openai:gpt-5-mini", OPENAI_API_KEY=KEY)
    assert said(named, "model", "model") == "ok: gpt-5-mini at https://api.openai.com/v1"
    assert said(named, "model", "key") == "ok: OPENAI_API_KEY is sent"
    assert re.match(r"ok: \$[\d.]+ in, \$[\d.]+ out, for a", said(named, "model", "price"))


def test_a_model_without_its_key_is_a_problem(tmp_path: Path) -> None:
    report = look(tmp_path, ABYME_MODEL="openai:gpt-5-mini")
    assert said(report, "model", "model").startswith("problem: no key for api.openai.com: set")
    assert not report.ready


def test_the_sub_model_is_shown_with_its_price(tmp_path: Path) -> None:
    report = look(
        tmp_path, ABYME_MODEL="openai:gpt-5", ABYME_SUB_MODEL="openai:zzz", OPENAI_API_KEY=KEY
    )
    assert said(report, "model", "sub-calls") == "ok: zzz at https://api.openai.com/v1"
    assert said(report, "model", "its price").startswith("warning: not known")


def test_the_folder_for_runs(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert said(look(tmp_path), "runs", "kept") == "ok: 0 runs, 0 bytes"
    assert not runs.exists(), "looking changes nothing"
    for name in ("a", "b"):
        (runs / name / "blobs").mkdir(parents=True)
        (runs / name / "journal.jsonl").write_text("x" * 500)
        (runs / name / "blobs" / "y").write_text("y" * 500)
    (runs / "no-run").mkdir()
    assert said(look(tmp_path), "runs", "kept") == "ok: 2 runs, 2.0 kB"
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        report = look(tmp_path, ABYME_RUNS=str(folder))
        assert said(report, "runs", "writable").startswith(f"problem: no: {file} is no folder; ")
        assert not report.ready


def test_the_packages_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}
    assert set(diagnosis.PACKAGES) == needed


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "abyme", "doctor", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "ABYME_RUNS": str(tmp_path / "runs"), **environ},
        )

    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("versions\n    abyme ") and "\nnext:\n  1. " in done.stdout
    found = json.loads(run("--json").stdout)
    assert found["ready"] is True and found["next"]
    assert {"name": "kind", "text": "process", "state": "ok"} in found["sandbox"]
    broken = run(ABYME_MAX_COST="x")
    assert broken.returncode == 1 and "✗ settings" in broken.stdout
