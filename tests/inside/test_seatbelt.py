"""macOS's profile, as far as it can be tested elsewhere: its text, and how it is put on."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from abyme.inside.lockdown import seatbelt
from abyme.inside.lockdown.landlock import LIST, READ, READ_FILE
from abyme.inside.lockdown.readable import readable


def rules_of(text: str) -> list[str]:
    """Its rules; parentheses outside of quotes must balance."""
    outside = re.sub(r'"(\\.|[^"\\])*"', "", text)
    depth = 0
    for character in outside:
        depth += {"(": 1, ")": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0 and '"' not in outside
    return text.splitlines()


def test_everything_is_denied_but_what_is_named(tmp_path: Path) -> None:
    folder, file, listed = tmp_path / "lib", tmp_path / "one.so", tmp_path
    rules = rules_of(
        seatbelt.profile([(str(folder), READ), (str(file), READ_FILE), (str(listed), LIST)])
    )
    assert rules[:2] == ["(version 1)", "(deny default)"]
    assert f'(allow file-read* (subpath "{folder}"))' in rules
    assert f'(allow file-read* (literal "{file}"))' in rules
    assert f'(allow file-read-data (literal "{listed}"))' in rules
    allowed = " ".join(rules).replace(str(tmp_path), "")
    for never in (
        "file-write",
        "network",
        "process-fork",
        "process-exec",
        "mach",
        "ipc",
        "(allow default",
    ):
        assert never not in allowed


def test_a_path_cannot_add_a_rule(tmp_path: Path) -> None:
    hostile = f'{tmp_path}/a"))(allow default)(allow file-read* (subpath "\\'
    rules = rules_of(seatbelt.profile([(hostile, READ)]))
    assert "(allow default)" not in rules
    with pytest.raises(ValueError, match="cannot name"):
        seatbelt.profile([(f"{tmp_path}/a\n(allow default)", READ)])


def test_what_the_worker_reads_can_be_said_in_it() -> None:
    assert len(rules_of(seatbelt.profile(readable({"numpy": ["/opt/packages"]})))) > 20


@pytest.mark.parametrize(("status", "said"), [(0, None), (-1, b"bad rule"), (-1, None)])
def test_it_is_put_on_by_the_systems_library(status: int, said: bytes | None) -> None:
    given: list[Any] = []

    def init(text: bytes, flags: ctypes.c_uint64, error: Any) -> int:
        given.append((text, flags.value))
        error._obj.value = said
        return status

    def library(name: str) -> Any:
        assert name == "/usr/lib/libSystem.dylib"
        return SimpleNamespace(sandbox_init=init)

    if status == 0:
        seatbelt.confine("(version 1)", library)
    else:
        with pytest.raises(OSError, match="bad rule" if said else "no reason") as raised:
            seatbelt.confine("(version 1)", library)
        assert raised.value.errno == errno.EPERM
    assert given == [(b"(version 1)", 0)]


def test_the_trials_find_what_is_not_held() -> None:
    """Here nothing holds this process: none of them may pass for a denial."""
    seatbelt.open_something()
    with pytest.raises(OSError) as raised:
        seatbelt.reach_out()
    assert not isinstance(raised.value, PermissionError)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 9)) == raised.value.errno
    before = os.getpid()
    seatbelt.start_something()
    assert os.getpid() == before
