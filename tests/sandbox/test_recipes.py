"""What starts workers: arguments, mounts, and what is said where none starts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from abyme.context.documents import Data
from abyme.context.load import load
from abyme.errors import SandboxError
from abyme.sandbox.bubblewrap import Bubblewrap
from abyme.sandbox.command import CommandSandbox, command, docker, podman
from abyme.sandbox.pipes import PipeSandbox
from abyme.sandbox.recipes import MOUNTS, Argv, Mount
from abyme.sandbox.stream import MOST_MOUNTS, MOUNT_FROM, _mounts
from abyme.types import CellResult
from support.boxes import box, container, local_pipe
from support.processes import wait_until_gone, workers_below
from support.repl import opened, run_cell

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
TESTS = Path(__file__).parents[1]


def within(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await work()

    asyncio.run(bounded())


def value(result: CellResult) -> str:
    assert result.ok, result.error
    return result.output.strip()


def test_containers_are_hardened_named_and_ended_by_name(tmp_path: Path) -> None:
    for program in ("docker", "podman"):
        folder = tmp_path / program
        sandbox = CommandSandbox(recipe=container(folder, program), grace_seconds=0.3)
        assert value(run_cell(folder, "6 * 7", sandbox=sandbox)) == "42"
        given = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
        started, ended = given[0], given[-1]
        assert started[:2] == [program, "run"] and ended[:3] == [program, "rm", "--force"]
        assert f"--name={ended[3]}" in started
        again = run_cell(folder / "again", "6 * 7", sandbox=sandbox)
        assert value(again) == "42"
        names = {
            json.loads(line)[3]
            for line in (folder / "log").read_text().splitlines()
            if json.loads(line)[1] == "rm"
        }
        assert len(names) == 2, "each container has a name of its own"


def test_a_container_whose_client_was_killed_is_ended(tmp_path: Path) -> None:
    async def work() -> None:
        data = load("t", folder=tmp_path / "d")
        async with opened(data, sandbox=box("docker", tmp_path)) as repl:
            mine = workers_below()
            os.kill(repl.pid, signal.SIGKILL)
            result = await repl.run(1, "sum(iter(int, 1))", 30)
            assert result.ended == "died"
        wait_until_gone(mine)

    within(60, work)


def test_what_is_mounted_has_no_name_and_is_large_enough(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(MOST_MOUNTS + 5):
        (folder / f"{n:03}.txt").write_bytes(b"x" * (MOUNT_FROM + n))
    (folder / "a,b.txt").write_bytes(b"x" * (MOUNT_FROM * 2))
    (folder / "small").write_text("s")
    data: Data = load(folder, folder=tmp_path / "d")
    mounts = _mounts(data)
    assert len(mounts) == MOST_MOUNTS
    names = {data.documents[index].name for index in mounts}
    assert "small" not in names and "a,b.txt" not in names and "000.txt" not in names
    assert all(mount.target == f"/abyme/data/{index}" for index, mount in mounts.items())


def test_an_argv_is_quoted_for_a_shell_and_takes_mounts_where_it_says() -> None:
    mounts = (Mount("/a b", "/abyme/data/0"), Mount("/c", "/abyme/data/1"))
    argv = ("runsc", MOUNTS, "do")
    launch = Argv(argv=argv, mount=("--volume={source}:{target}:ro",)).launch(mounts)
    assert launch.argv[:5] == (
        "runsc", "--volume=/a b:/abyme/data/0:ro", "--volume=/c:/abyme/data/1:ro", "do", "python3"
    )  # fmt: skip
    *before, quoted = Argv(argv=("ssh", "host"), shell=True).launch(()).argv
    assert before == ["ssh", "host"] and quoted.startswith("python3 -s -S -c 'import os")


def test_without_a_boundary_no_layer_can_be_left_out(tmp_path: Path) -> None:
    sandbox = replace(box("argv", tmp_path), layers=())
    result = run_cell(tmp_path, "open('/etc/passwd')", sandbox=sandbox)
    assert result.error is not None and result.error.type == "PermissionError"


@pytest.mark.parametrize(
    ("sandbox", "said"),
    [
        (CommandSandbox(recipe=Bubblewrap(program="no-such-bwrap")), "apt install bubblewrap"),
        (command(("/no-such-program",)), "/no-such-program cannot be started: "),
        (command(("sh", "-c", "echo no such host >&2; exit 3")), "started no worker: no such host"),
        (command((), python="false"), "command: the worker did not start: "),
        (docker("--privileged"), "is no name of an image|docker is not installed"),
        (podman("--privileged"), "is no name of an image|podman is not installed"),
    ],
)
def test_no_worker_is_told_with_the_reason(
    sandbox: CommandSandbox, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SandboxError, match=said):
        run_cell(tmp_path, "1", sandbox=sandbox)


def test_an_image_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    recipe = container(tmp_path / "c", "docker", image="other")
    with pytest.raises(SandboxError, match=r"No such image: other; fetch it first: docker pull"):
        run_cell(tmp_path, "1", sandbox=CommandSandbox(recipe=recipe))


def test_what_does_not_start_in_time_is_ended(tmp_path: Path) -> None:
    sandbox = replace(command(("sh", "-c", "sleep 99")), start_seconds=0.3)
    with pytest.raises(SandboxError, match="did not start within"):
        run_cell(tmp_path, "1", sandbox=sandbox)


def test_the_example_of_a_pipe_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, TESTS.parent / "examples" / "own_sandbox.py"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ABYME_RUNS": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "14 lines contain" in done.stdout


def test_a_pipe_that_cannot_be_opened_or_breaks_is_told(tmp_path: Path) -> None:
    async def refuse() -> Any:
        raise ConnectionError("no such cloud")

    with pytest.raises(SandboxError, match=r"no pipe could be opened: .*no such cloud"):
        run_cell(tmp_path, "1", sandbox=PipeSandbox(open_pipe=refuse))

    async def broken() -> Any:
        pipe = await local_pipe()
        pipe.process.kill()
        return pipe

    with pytest.raises(SandboxError, match=r"pipe: the worker did not start|the pipe broke"):
        run_cell(tmp_path / "broken", "1", sandbox=PipeSandbox(open_pipe=broken))
    with pytest.raises(SandboxError, match="can only be pulled"):
        run_cell(tmp_path / "mount", "1", sandbox=PipeSandbox(open_pipe=refuse, data="mount"))
