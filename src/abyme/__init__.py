"""Abyme: ask anything of data far larger than a model's window.

    from abyme import RLM
    answer = RLM("openai:gpt-5-mini").completion("Who signed first?", Path("contracts"))

The names below are all that is public; everything else may change between versions.
"""

from abyme.config import Limits
from abyme.errors import AbymeError, ConfigError, DataChanged, DataError, JournalError, ModelError
from abyme.rlm import RLM, Stream
from abyme.types import Answer, Quote, Usage
from abyme.version import __version__

__all__ = [
    "RLM",
    "AbymeError",
    "Answer",
    "ConfigError",
    "DataChanged",
    "DataError",
    "JournalError",
    "Limits",
    "ModelError",
    "Quote",
    "Stream",
    "Usage",
    "__version__",
]
