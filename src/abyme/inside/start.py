"""The script that a zygote's process runs: makes this folder a package and starts :mod:`.zygote`.

The folder gets a name of its own rather than ``abyme.inside``, because importing that would first
import ``abyme``, which is the host's and needs packages that the worker does not have.
"""

import sys
from types import ModuleType

if __name__ == "__main__":
    _package = ModuleType("abyme_inside")
    _package.__path__ = [__file__.rpartition("/")[0]]
    sys.modules["abyme_inside"] = _package
    from abyme_inside.zygote import main  # type: ignore[import-not-found]

    main(int(sys.argv[1]))
