"""The results as they are kept: a file for each part, to which every trial is added when done."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import msgspec

from abyme import __version__
from benchmarks.async_depth.trial import Outcome, Plan, Trial

FOLDER = Path(__file__).parent / "results"
NOTE = "SIMULATION: a stub endpoint by published figures; the engine and its workers are real"


class Made(msgspec.Struct, frozen=True):
    """When and where a part was made."""

    note: str
    abyme: str
    at: str
    system: str
    python: str
    cores: int
    load: float


class Part(msgspec.Struct):
    """A part's trials so far."""

    made: Made
    trials: list[Trial] = []


class Results:
    """Those of one part, in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.json"
        self.trials: list[Trial] = []
        self.made: Made | None = None
        if self._path.exists():
            kept = msgspec.json.decode(self._path.read_bytes(), type=Part)
            self.trials, self.made = kept.trials, kept.made
        self._keys = {trial.plan.key for trial in self.trials}

    def has(self, plan: Plan) -> bool:
        """Whether this trial was done before."""
        return plan.key in self._keys

    def add(self, plan: Plan, outcome: Outcome) -> None:
        """Keep a trial."""
        self.trials.append(Trial(plan, outcome))
        self._keys.add(plan.key)
        self._save()

    def _save(self) -> None:
        text = msgspec.json.encode(_rounded(Part(_made(), self.trials)))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_bytes(text.replace(b'{"plan"', b'\n{"plan"') + b"\n")
        beside.replace(self._path)

    def drop_others(self, keys: set[str]) -> None:
        """Forget trials that are no longer part of the study."""
        kept = [trial for trial in self.trials if trial.plan.key in keys]
        if len(kept) < len(self.trials):
            self.trials, self._keys = kept, {trial.plan.key for trial in kept}
            self._save()


def _rounded(part: Part) -> Any:
    def short(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, dict):
            return {name: short(each) for name, each in value.items()}
        if isinstance(value, list):
            return [short(each) for each in value]
        return value

    return short(msgspec.to_builtins(part))


def _made() -> Made:
    return Made(
        note=NOTE,
        abyme=__version__,
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        cores=os.cpu_count() or 0,
        load=round(os.getloadavg()[0], 2),
    )
