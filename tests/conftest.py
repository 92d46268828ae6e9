"""What every test shares: an environment in which no key is set, and a folder for runs.

Nothing of the machine counts: no ABYME_ variable, no configuration of its user, no model server.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import tempfile
from pathlib import Path

import pytest

for _name in list(os.environ):
    if _name.startswith("ABYME_") or _name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        del os.environ[_name]
os.environ["ABYME_LOCAL_SERVERS"] = ""
_empty = tempfile.NamedTemporaryFile(prefix="abyme-tests-", suffix=".toml")  # noqa: SIM115
atexit.register(_empty.close)
os.environ["ABYME_CONFIG"] = _empty.name
_state = tempfile.TemporaryDirectory(prefix="abyme-tests-")
atexit.register(_state.cleanup)
os.environ["XDG_STATE_HOME"] = _state.name

_guard = str(Path(__file__).parent / "support" / "guard")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_guard, os.environ.get("PYTHONPATH"))))
if "sitecustomize" not in sys.modules or not hasattr(sys.modules["sitecustomize"], "is_local"):
    sys.path.insert(0, _guard)
    sys.modules.pop("sitecustomize", None)
    importlib.import_module("sitecustomize")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder for the journals of one test."""
    return tmp_path / "runs"
