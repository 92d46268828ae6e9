"""What a worker imports before it is held where no file can be opened afterwards."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterable

# fmt: off
MODULES = (
    "_strptime", "abc", "argparse", "array", "ast", "asyncio", "base64", "binascii", "bisect",
    "bz2", "calendar", "cmath", "codecs",
    "collections", "collections.abc", "colorsys", "concurrent.futures", "concurrent.futures.thread",
    "contextlib", "contextvars", "copy", "csv", "ctypes", "dataclasses", "datetime", "decimal",
    "difflib", "dis", "email", "email.policy", "enum", "fnmatch", "fractions", "functools", "gc",
    "glob", "graphlib", "gzip", "hashlib", "heapq", "hmac", "html", "html.parser", "inspect", "io",
    "ipaddress", "itertools", "json", "keyword", "linecache", "locale", "logging", "lzma", "math",
    "mimetypes", "numbers", "operator", "os", "pathlib", "pickle", "platform", "pprint", "queue",
    "random", "re", "reprlib", "secrets", "shlex", "signal", "sqlite3", "stat", "statistics",
    "string", "stringprep", "struct", "sys", "tarfile", "tempfile", "textwrap", "threading", "time",
    "timeit", "token", "tokenize", "traceback", "types", "typing", "unicodedata", "urllib.parse",
    "uuid", "warnings", "weakref", "xml.etree.ElementTree", "zipfile", "zlib", "zoneinfo",
)
ENCODINGS = (
    "ascii", "latin_1", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32",
    "utf_32_le", "utf_32_be", "cp1250", "cp1251", "cp1252", "cp437", "iso8859_2", "iso8859_15",
    "koi8_r", "shift_jis", "euc_jp", "iso2022_jp", "gb18030", "gbk", "big5", "euc_kr", "cp949",
    "idna", "punycode", "unicode_escape", "raw_unicode_escape", "hex_codec", "base64_codec",
)
# fmt: on


def preload(packages: Iterable[str]) -> None:
    """Import all of it, what makes checkpoints, and what sets the clock of cells run again.

    What is not there is passed over: not every Python has every module.
    What is asked for later is then not found, as if it were not installed.
    """
    encodings = (f"encodings.{name}" for name in ENCODINGS)
    for name in (*MODULES, *encodings, *packages):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # Where files can be opened, only when used.
    from .. import checkpoint, surroundings, wallclock  # noqa: F401

    sys.path.clear()
    sys.path_importer_cache.clear()
