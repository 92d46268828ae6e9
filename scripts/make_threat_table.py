"""Write the table of docs/threat-model.md: ``python scripts/make_threat_table.py``.

The attempts are data; what the table says of one is what its test asserts.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
_MARK = "<!-- made by scripts/make_threat_table.py -->\n"


def page() -> str:
    """The whole page, its table made anew."""
    return PAGE.read_text().partition(_MARK)[0] + _MARK + table()


def table() -> str:
    """A table for each group: the attempt and the layers of which each alone holds it."""
    sys.path.insert(0, str(ROOT / "tests"))
    from adversarial.attempts import ATTEMPTS

    several = sum(len(each.layers) > 1 for each in ATTEMPTS)
    counts = [f"{len(ATTEMPTS)} attempts: {several} are held by more than one layer"]
    counts += [
        f"{sum(each.layers == (layer,) for each in ATTEMPTS)} by {layer} alone"
        for layer in ("landlock", "seccomp", "rlimits")
    ]
    parts = [f"\n{', '.join(counts)}.\n"]
    for group, attempts in groupby(ATTEMPTS, lambda each: each.group):
        parts.append(f"\n| {group} | held by |\n|---|---|\n")
        parts += [f"| {each.name} | {', '.join(each.layers)} |\n" for each in attempts]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
