"""Which key goes to which address.

====================================  ============================================================
the address comes from                the key that is sent there
====================================  ============================================================
nobody (so it is api.openai.com)      OPENAI_API_KEY, else the user's file's where it names no
                                      other address
the user's file                       that file's own, and nothing else; OPENAI_API_KEY only where
                                      the address is api.openai.com, and there it goes first
OPENAI_BASE_URL                       OPENAI_API_KEY, else the user's file's where that file names
                                      the same address
--base-url, ABYME_BASE_URL            as above where it is api.openai.com, or the address of
                                      OPENAI_BASE_URL; else the user's file's where that file
                                      names the same address; else OPENAI_API_KEY
the journal of a run that goes on     as above where the user has configured the same address;
                                      else none, and none is asked but on this machine
                                      (:mod:`abyme.recorded`)
a local server that was found         none
====================================  ============================================================

A key that is kept for an address goes before one that is not, and a key of the user's file goes to
that file's address alone. So OPENAI_API_KEY follows only what the user typed or exported
himself, as :mod:`abyme.models.registry` has it; ``api_key_env = "OPENAI_API_KEY"`` in his file
sends it to that file's address as well. A folder's own file can set neither address nor key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from abyme.errors import ConfigError
from abyme.models.quoting import shown_url
from abyme.models.registry import OPENAI_URL
from abyme.recorded import same_address
from abyme.settings import Loaded
from abyme.settings_file import shown_path


class Endpoint(NamedTuple):
    """Arguments for ``RLM(...)``: None leaves it to the environment, "" sends no key."""

    base_url: str | None
    api_key: str | None
    key_from: str
    """Where the key comes from; "" where none is sent."""

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, key from {self.key_from!r})"


def endpoint(loaded: Loaded, environ: Mapping[str, str]) -> Endpoint:
    """The address to ask, and the key for it.

    Raises :class:`ConfigError` where the variable that should hold the key is not set.
    """
    url = loaded.settings.base_url
    origin = loaded.origin("base_url")
    exported = environ.get("OPENAI_API_KEY", "").strip()
    asked = url or OPENAI_URL
    paired = environ.get("OPENAI_BASE_URL", "").strip()
    if exported and (same_address(asked, OPENAI_URL) or (paired and same_address(asked, paired))):
        return Endpoint(url or None, exported if url else None, "OPENAI_API_KEY")
    if loaded.own_key and same_address(asked, loaded.own_base_url or OPENAI_URL):
        return Endpoint(url or None, _own_key(loaded, environ, asked), loaded.own_key)
    if exported and origin in ("--base-url", "ABYME_BASE_URL"):
        return Endpoint(url, exported, "OPENAI_API_KEY")
    return Endpoint(url or None, "" if url else None, "")


def _own_key(loaded: Loaded, environ: Mapping[str, str], url: str) -> str:
    """The key of the user's file."""
    name = loaded.settings.api_key_env
    key = environ.get(name, "").strip() if name else loaded.settings.api_key
    if not key:
        raise ConfigError(
            f"no key for {shown_url(url)}: {name} is not set, which api_key_env in "
            f"{shown_path(loaded.user_file)} names"
        )
    return key
