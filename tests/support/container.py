"""A stand-in for Docker and Podman: takes their arguments, checks them, runs the worker here.

``container.py FOLDER docker run …`` is the client: it writes what it was given to
``FOLDER/log``, hands bytes on between its own standard input and output and pipes of the worker's,
and may be killed without the worker ending. ``… rm --force NAME`` ends that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_NEEDED = {
    "--rm", "--interactive", "--pull=never", "--network=none", "--read-only", "--ipc=none",
    "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=65534:65534", "--log-driver=none",
    "--workdir=/", "--label=abyme", "--entrypoint=python3",
}  # fmt: skip
_OF_PODMAN = {"--read-only-tmpfs=false", "--http-proxy=false"}
_MAY = ("--name=abyme-", "--pids-limit=", "--memory=", "--memory-swap=", "--env=", "--mount=")


def main() -> None:
    folder, program, verb, *rest = sys.argv[1:]
    place = Path(folder)
    with (place / "log").open("a") as log:
        log.write(json.dumps([program, verb, *rest]) + "\n")
    if verb == "rm":
        _remove(place, rest)
    elif verb == "shim":
        sys.exit(subprocess.call([sys.executable, *rest]))
    else:
        _run(place, program, rest)


def _run(place: Path, program: str, rest: list[str]) -> None:
    options = []
    while rest and rest[0].startswith("-"):
        options.append(rest.pop(0))
    image, *python = rest
    needed = _NEEDED | (_OF_PODMAN if program == "podman" else set())
    if missing := needed - set(options):
        sys.exit(f"{program}: missing {missing}")
    others = [option for option in options if option not in needed]
    if wrong := [each for each in others if not each.startswith(_MAY)]:
        sys.exit(f"{program}: unknown {wrong}")
    if any(option.startswith("--env=") and not option.endswith("=") for option in options):
        sys.exit(f"{program}: something of the environment is passed")
    if image != "python:3.12-slim":
        sys.exit(f"{program}: Error response from daemon: No such image: {image}")
    (name,) = (option[len("--name=") :] for option in options if option.startswith("--name="))
    worker = subprocess.Popen(
        [sys.executable, __file__, str(place), program, "shim", *python],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    (place / name).write_text(str(worker.pid))
    assert worker.stdin is not None and worker.stdout is not None
    forth = threading.Thread(target=_carry, args=(0, worker.stdin.fileno()), daemon=True)
    forth.start()
    _carry(worker.stdout.fileno(), 1)
    sys.exit(worker.wait())


def _carry(source: int, target: int) -> None:
    try:
        while data := os.read(source, 1 << 16):
            while data:
                data = data[os.write(target, data) :]
    except OSError:
        pass
    os.close(target)


def _remove(place: Path, rest: list[str]) -> None:
    force, name = rest
    assert force == "--force"
    os.killpg(int((place / name).read_text()), signal.SIGKILL)


if __name__ == "__main__":
    main()
