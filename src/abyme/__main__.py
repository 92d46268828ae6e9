"""``python -m abyme``."""

from abyme.cli.main import main

main()
