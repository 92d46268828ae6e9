"""The guard against reaching beyond this machine bites, here and in processes that tests start."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from abyme import RLM
from support.runs import cell
from support.stub import Stub


def test_reaching_out_is_refused_here() -> None:
    with pytest.raises(PermissionError, match="not this machine"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(PermissionError, match="not this machine"):
        socket.getaddrinfo("example.invalid", 80)


def test_and_in_a_process_that_a_test_starts() -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "not this machine" in done.stderr


def test_an_endpoint_elsewhere_is_never_reached_and_loopback_is(runs: Path) -> None:
    answer = RLM("m", base_url="http://192.0.2.1/v1", runs=runs).completion("q", "text")
    assert answer.status == "failed"
    with Stub(lambda request: cell("FINAL(1)")) as stub:
        assert RLM("m", base_url=stub.url, runs=runs).completion("q", "text").value == 1
