"""The worker locks itself in, with the standard library alone, before any code of a model runs.

No root, no daemon and no other program is needed, and nothing can be undone: not by code in the
worker, whatever it imports or calls through ctypes. The layers, each of which holds something that
the others let through, are in :data:`LAYERS`. ``docs/threat-model.md`` says what each is for.
It begins in :mod:`.lock`.
"""

from __future__ import annotations

LAYERS = ("rlimits", "no_new_privs", "capabilities", "undumpable", "landlock", "seccomp")
MEMORY = "memory"
"""The limit on memory alone, which is no confinement; part of ``rlimits``."""
STRICT = "no opens"
"""In the place of Landlock, where the kernel lacks it: no file is opened at all."""
