"""Children and a job, without a model: a script plays root and children over a made-up notebook.

Run it: python examples/children.py. It asks, then draws the tree. The same by the command:

    python examples/children.py pots.txt        (writes the notebook)
    abyme ask "Which pots leak?" pots.txt --model scripted:examples/children.json --max-depth 3
    abyme show
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from abyme import RLM, Limits
from abyme.cli.show import show

SCRIPT = Path(__file__).with_suffix(".json")
NOTES = {30: "leaks at the handle", 907: "may be leaky, ask Ada", 1440: "leaks"}


def notebook() -> str:
    """Two thousand pots, a line each."""
    return "".join(f"pot {n}: {NOTES.get(n, 'as good as new')}\n" for n in range(1, 2001))


def main(runs: Path) -> str:
    """Ask, show the run, and give the answer."""
    rlm = RLM(f"scripted:{SCRIPT}", runs=runs, limits=Limits(max_depth=3))
    answer = rlm.completion("Which pots leak?", notebook())
    show(runs / answer.run, print, width=80 if sys.stdout.isatty() else None)
    return answer.text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(notebook(), encoding="utf-8")
        sys.exit()
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
