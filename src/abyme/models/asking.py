"""What a question asks for, told by its form: the strategy, and what it looks for."""

from __future__ import annotations

import re
import tomllib
from functools import reduce
from importlib import resources
from typing import NamedTuple

_FILE = resources.files("abyme.models") / "reader_forms.toml"
_TABLES = tomllib.loads(_FILE.read_text(encoding="utf-8"))
ANSWERS: dict[str, str] = _TABLES["answers"]
NEXT: dict[str, list[str]] = _TABLES["next"]
WORDS: dict[str, str] = _TABLES["words"]
_PARTS, _FORM = _TABLES["parts"], dict[str, re.Pattern[str]]()
for _name, _form in _TABLES["forms"].items():
    _whole = reduce(lambda form, part: form.replace(*part), _PARTS.items(), _form)
    _FORM[_name] = re.compile(_whole, re.IGNORECASE | re.VERBOSE)
_VERBS: dict[str, list[str]] = _TABLES["verbs"]


class Asked(NamedTuple):
    """A strategy: the packaged reply to begin with, and what is filled into it."""

    step: str = "look"
    pattern: str = ""  # what a line must match to be counted, listed or taken as a definition
    one: str = ""
    many: str = ""  # what was counted, in words, where that is one thing and where it is not
    within: str = ""  # a part of the names of the documents that a count is about
    shown: int = 2
    sides: tuple[str, ...] = ()  # what is compared


def asked(question: str) -> Asked:
    """The strategy for a question; looking it up is the one for all that have no other."""
    if (found := _FORM["levels"].match(question)) is not None:
        question = f"how many lines contain {found['which'] or found['what']}"
    if (found := _FORM["count"].match(question)) is not None:
        return _counted(found) or Asked()
    if (found := _FORM["list"].match(question)) is not None and (each := _held(found)) is not None:
        return each._replace(shown=20)
    if (found := _FORM["compare"].search(question)) is not None:
        one, other = (_bare(side) for side in found.groups() if side)
        # A soft and a hard reset: what only the second has belongs to the first as well.
        return Asked("compare", sides=(" ".join([one, *other.split()[len(one.split()) :]]), other))
    if found := _FORM["define"].match(question) or _FORM["defined"].match(question):
        words = r"[\s_-]?".join(map(re.escape, re.findall(r"\w+", found[1])))
        definition = _TABLES["definition"].replace("NAME", words)
        return Asked("define", f"(?ix){definition}") if words else Asked()
    return Asked()


def _counted(found: re.Match[str]) -> Asked | None:
    if found["defined"]:
        within = _FORM["within"].fullmatch(found["rest"])
        word, one, many = _TABLES["told"][found["defined"].lower()[:5]]
        named = next(filter(None, within.groups()), "") if within else ""
        definition = rf"^\s*(?:async\s+)?{word}\s+\w+"
        return Asked("count_defined", definition, one, many, named) if within else None
    if found["times"] or found["often"] is not None:
        occurs = _FORM["occurs"].match(found["rest"] or found["often"] or "")
        held = _conditions(f"contain {occurs[1] or occurs[2]}") if occurs else []
        if len(held) != 1 or held[0][:2] != ("contain", False):
            return None
        pattern, said = held[0][2:]
        return Asked("count_times", pattern, f"occurrence of {said}", f"occurrences of {said}")
    return _held(found)


def _held(found: re.Match[str]) -> Asked | None:
    """Lines or documents that hold something, or do not."""
    if found["line"] and _FORM["all"].fullmatch(found["rest"]):
        return Asked("count_all", "", "line", "lines")
    held = _conditions(found["rest"])
    unit = "line" if found["line"] else "document"
    if not held or (unit == "document" and (held[1:] or held[0][:2] != ("contain", False))):
        return None
    first, *others = [each[2] for each in held if not each[1]] or [""]
    if others or any(no for _, no, _, _ in held):
        without = "".join(f"(?!.*(?:{each[2]}))" for each in held if each[1])
        first = f"^{without}{''.join(f'(?=.*(?:{each}))' for each in others)}.*?(?:{first})"
    one, many = unit, f"{unit}s"
    for last, (verb, no, _, said) in zip([None, *held], held, strict=False):
        verbs = ["", ""] if last and last[:2] == (verb, no) else _VERBS[verb][1 + 2 * no :]
        one += " and" * bool(last) + f" {verbs[0]} {said}".replace("  ", " ", 1)
        many += " and" * bool(last) + f" {verbs[1]} {said}".replace("  ", " ", 1)
    return Asked(f"count_{unit}s", first, one, many)


def _conditions(text: str) -> list[tuple[str, bool, str, str]]:
    """What must all be so: a verb, whether it is not to be, a pattern, and that in words.

    None where not all of ``text`` is understood. What is quoted, and a word in capitals, is meant
    exactly; other words in any case.
    """
    quoted = _FORM["quoted"].finditer(text := text.replace("\0", " ").strip())
    pieces = _FORM["join"].split(_FORM["after"].sub("", _FORM["quoted"].sub("\0", text)))
    joins = {join.lower() for join in pieces[1::2] if join}
    held: list[tuple[str, bool, str, str]] = []
    for clause in map(_FORM["clause"].match, pieces[::2]):
        assert clause is not None
        name = _bare(clause["thing"])
        last, was = held[-1][:2] if held else ("", False)
        no = any(clause[each] for each in ("not", "without", "no"))
        verb = next((each for each in _VERBS if clause[each]), "")
        strange = (" " in name or len(pieces) > 1) and _FORM["strange"].search(name)
        if strange or not (name and (verb or last)) or ("\0" in name and name != "\0"):
            return []
        alike = not verb and not no and "or" not in joins  # "A and B", but never "A but B"
        if (no and not verb and last != "contain") or (alike and (was or "and" not in joins)):
            return []
        verb, no = verb or last, no or (was and not verb)
        quote = next(quoted) if name == "\0" else None
        text = next(filter(None, quote.groups())) if quote else name
        exact, regex = quote is not None or name.isupper(), quote[6] if quote else None
        pattern = regex or (re.escape(text) if exact else f"(?i:{re.escape(text)})")
        said = f"/{regex}/" if regex else f'"{text}" ({"exact" if exact else "any"} case)'
        held.append((verb, no, _VERBS[verb][0].format(pattern), said))
    if "or" not in joins:
        return held
    if len(joins) > 1 or len({each[:2] for each in held}) > 1:
        return []
    pattern, said = "|".join(each[2] for each in held), " or ".join(each[3] for each in held)
    return [(*held[0][:2], pattern, said)]


def _bare(text: str) -> str:
    """A name without the articles before it, what is said after it, and its quotes."""
    return _FORM["before"].sub("", _FORM["after"].sub("", text)).strip(" \t\"'`“”«»")
