"""The script that a worker's first process runs: makes this folder a package and starts it.

With the number of a socket, :mod:`.zygote`; with ``stdio``, :mod:`.stdio`.

The folder gets a name of its own rather than ``abyme.inside``, because importing that would first
import ``abyme``, which is the host's and needs packages that the worker does not have.
"""

import signal
import sys
from types import ModuleType

if __name__ == "__main__":
    # The thread that started this process may have blocked what workers are told by.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _package = ModuleType("abyme_inside")
    _package.__path__ = [__file__.rpartition("/")[0]]
    sys.modules["abyme_inside"] = _package
    if sys.argv[1] == "stdio":
        from abyme_inside.stdio import main as main_over_stdio  # type: ignore[import-not-found]

        main_over_stdio()
    else:
        from abyme_inside.zygote import main  # type: ignore[import-not-found]

        main(int(sys.argv[1]))
