"""Write the tables of docs/threat-model.md: ``python scripts/make_threat_table.py``.

The attempts are data; what a table says of one is what its test asserts.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
_MARK = "<!-- made by scripts/make_threat_table.py -->\n"


def page() -> str:
    """The whole page, its tables made anew."""
    return PAGE.read_text().partition(_MARK)[0] + _MARK + tables()


def tables() -> str:
    """A table for each group: the attempt, and for each sandbox what holds it there."""
    sys.path.insert(0, str(ROOT / "tests"))
    from adversarial.columns import ATTEMPTS, COLUMNS, FORGERIES, by_host, counts

    parts = [f"\n{counts()}\n"]
    for group, attempts in groupby(ATTEMPTS, lambda each: each.group):
        parts.append(_header(group, *COLUMNS))
        parts += [_row(each.name, *(by(each) for by in COLUMNS.values())) for each in attempts]
    for group, forgeries in groupby(FORGERIES, lambda each: each.group):
        parts.append(_header(group, "held by the host"))
        parts += [_row(each.name, by_host(each)) for each in forgeries]
    return "".join(parts)


def _header(*names: str) -> str:
    return f"\n{_row(*names)}|{'---|' * len(names)}\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
