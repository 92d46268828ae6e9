"""``python -m abyme``."""

from abyme.cli import main

main()
