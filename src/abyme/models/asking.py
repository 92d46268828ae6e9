"""What a question asks for, told by its form: the strategy, and what it looks for."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import NamedTuple

_TABLES = tomllib.loads(
    (resources.files("abyme.models") / "reader_forms.toml").read_text(encoding="utf-8")
)
ANSWERS: dict[str, str] = _TABLES["answers"]
_FORMS: dict[str, str] = _TABLES["forms"]
_UNIT, _DEFINITION = _FORMS.pop("unit"), _FORMS.pop("definition")
_COUNT, _LIST, _BOTH, _DEFINE, _HOLDS, _NOT, _ALL, _OCCURS, _WITHIN, _BEFORE, _AFTER, _QUOTED = (
    re.compile(form.replace("UNIT", _UNIT), re.IGNORECASE | re.VERBOSE) for form in _FORMS.values()
)


class Asked(NamedTuple):
    """A strategy: the packaged reply to begin with, and what is filled into it."""

    step: str = "look"
    pattern: str = ""
    """What a line must match to be counted, listed or taken as a definition."""
    one: str = ""
    many: str = ""
    """What was counted, in words, where that is one thing and where it is not."""
    within: str = ""
    """A part of the names of the documents that a count is about."""
    shown: int = 2
    sides: tuple[str, ...] = ()
    """What is compared."""


def asked(question: str) -> Asked:
    """The strategy for a question; looking it up is the one for all that have no other."""
    if (found := _COUNT.search(question)) is not None:
        return _counted(found) or Asked()
    if (found := _LIST.search(question)) is not None and (each := _held(found)) is not None:
        return each._replace(shown=20)
    if (found := _BOTH.search(question)) is not None:
        one, other = (_bare(side) for side in found.groups() if side)
        # A soft and a hard reset: what only the second has belongs to the first as well.
        return Asked("compare", sides=(" ".join([one, *other.split()[len(one.split()) :]]), other))
    if (found := _DEFINE.match(question)) is not None:
        words = r"[\s_-]?".join(map(re.escape, re.findall(r"\w+", found[1])))
        return Asked("define", f"(?ix){_DEFINITION.replace('NAME', words)}") if words else Asked()
    return Asked()


def _counted(found: re.Match[str]) -> Asked | None:
    if found["defined"]:
        word = "class" if found["defined"].lower().startswith("class") else "def"
        within = _WITHIN.search(found["rest"])
        named = _bare(within[1] or within[2]) if within else ""
        many = "classes" if word == "class" else "functions and methods"
        told = (f'line that begins with "{word}"', f'{many} (lines that begin with "{word}")')
        return Asked("count_defined", rf"^\s*(?:async\s+)?{word}\s+\w+", *told, named)
    if found["times"] or found["often"] is not None:
        occurs = _OCCURS.match(found["rest"] or found["often"] or "")
        pattern, said = _pattern(occurs[1] or occurs[2]) if occurs else ("", "")
        told = (f"occurrence of {said}", f"occurrences of {said}")
        return Asked("count_times", pattern, *told) if pattern else None
    return _held(found)


def _held(found: re.Match[str]) -> Asked | None:
    """Lines or documents that hold something, or do not."""
    unit = "line" if found["line"] else "document"
    if unit == "line" and _ALL.fullmatch(found["rest"]):
        return Asked("count_all", "", "line", "lines")
    holds = _HOLDS.match(found["rest"])
    pattern, said = _pattern(holds["thing"]) if holds else ("", "")
    without = holds is not None and (holds["without"] or _NOT.search(holds["before"]))
    if not pattern or (without and unit == "document"):
        return None
    verbs = "contains", "contain"
    if without:
        pattern, verbs = f"^(?!.*(?:{pattern}))", ("does not contain", "do not contain")
    return Asked(
        f"count_{unit}s", pattern, f"{unit} {verbs[0]} {said}", f"{unit}s {verbs[1]} {said}"
    )


def _pattern(thing: str) -> tuple[str, str]:
    """A regular expression for what is looked for, and the same in words.

    What is quoted, and a word in capitals, is meant exactly; other words in any case.
    """
    between = _QUOTED.sub(" ", thing)
    parts = [(next(filter(None, each.groups())), each[6]) for each in _QUOTED.finditer(thing)]
    capitals = re.findall(r"\b[A-Z][A-Z_]+\b", between)
    names = capitals if parts else map(_bare, re.split(r"\s+(?:and|or)\s+", _bare(thing)))
    exact = {text for text, _ in parts}
    parts += [(name, None) for name in names if name]
    patterns, said = [], []
    for text, regex in parts:
        same = text in exact or text.isupper()
        form = regex or re.escape(text)
        patterns.append(form if same else f"(?i:{form})")
        said.append(
            f"/{regex}/" if regex else f'"{text}"' + (" (exact case)" if same else " (any case)")
        )
    if len(patterns) > 1 and re.search(r"\band\b", between, re.I):
        return "".join(["^", *(f"(?=.*{each})" for each in patterns)]), " and ".join(said)
    return "|".join(patterns), " or ".join(said)


def _bare(text: str) -> str:
    """A name without the articles before it, what is said after it, and its quotes."""
    return _BEFORE.sub("", _AFTER.sub("", text)).strip(" \t\"'`“”«»")
