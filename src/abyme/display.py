"""How an answer shows itself in Python (one line for ``repr``, HTML for Jupyter), and the words
for numbers that are the same wherever an answer is shown."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator

from abyme.types import Answer, Quote

_REPR_CHARS = 80
_TEXT_CHARS = 20_000
_QUOTE_CHARS = 600
_QUOTES = 50
_STYLE = (
    "border:1px solid;border-color:color-mix(in srgb,currentColor 25%,transparent);"
    "border-radius:6px;padding:.6em .9em;max-width:60em;color:inherit;background:none;"
    "font-family:inherit"
)
_PRE = (
    "white-space:pre-wrap;overflow-wrap:anywhere;margin:.5em 0;padding:0;border:0;color:inherit;"
    "background:none;font:inherit"
)
_SMALL = "opacity:.75;font-size:.9em"


def answer_repr(answer: Answer) -> str:
    """The answer in one line: how it ended, its beginning, what it cost, which run it was."""
    fields = [f"status={answer.status!r}"]
    if answer.reason:
        fields.append(f"reason={_beginning(answer.reason, _REPR_CHARS)!r}")
    fields += [
        f"text={_beginning(answer.text, _REPR_CHARS)!r}",
        f"quotes={len(answer.quotes)}",
        f"cost={None if answer.cost is None else cost_text(answer.cost)}",
        f"turns={answer.turns}",
        f"seconds={answer.seconds:.1f}",
        f"run={answer.run!r}",
    ]
    return f"Answer({', '.join(fields)})"


def answer_html(answer: Answer) -> str:
    """The answer as one HTML element that needs nothing else and runs nothing.

    Its colours are those of the page around it.
    """
    return "".join(_parts(answer))


def answer_facts(answer: Answer) -> list[str]:
    """What a run took: turns, calls, tokens, cost, seconds."""
    usage = answer.usage
    about = " (estimated)" if usage.estimated else ""
    return [
        plural(answer.turns, "turn"),
        plural(usage.calls, "call"),
        f"{usage.tokens:,} tokens{about}",
        cost_text(answer.cost) + (about if answer.cost else ""),
        seconds_text(answer.seconds),
    ]


def answer_run(answer: Answer) -> str:
    """Which run it was, and the hash of its journal's last line, whole: it is there to be kept."""
    return f"run {answer.run}" + (f" · head {answer.head}" if answer.head else "")


def cost_text(cost: float | None) -> str:
    """``$0.0123``; an unknown price is said to be unknown, and little is never shown as nothing."""
    if cost is None:
        return "cost unknown"
    if 0 < cost < 0.00005:
        return "<$0.0001"
    return f"${cost:,.4f}".rstrip("0").rstrip(".")


def seconds_text(seconds: float) -> str:
    """``4.2 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plural(count: int, noun: str) -> str:
    """``1 turn``, ``2 turns``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def printable(text: str) -> str:
    """``text`` in which nothing can act on a terminal or turn the text around.

    Control and format characters become escapes; line breaks and tabs stay, spaces of all kinds,
    and the joiners that some scripts and emoji need.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or _harmless(letter) else _escape(letter)
        for letter in text.replace("\r\n", "\n")
    )


def _harmless(letter: str) -> bool:
    return letter in "\n\t\u200c\u200d" or unicodedata.category(letter) == "Zs"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _parts(answer: Answer) -> Iterator[str]:
    yield f'<div class="abyme-answer" style="{_STYLE}">'
    reason = f": {_html(answer.reason)}" if answer.reason else ""
    yield f"<div><strong>{_html(answer.status)}</strong>{reason}</div>"
    yield f'<pre style="{_PRE}">{_html(_cut(answer.text, _TEXT_CHARS))}</pre>'
    if answer.quotes:
        yield f'<ul style="{_SMALL};margin:.5em 0;padding-left:1.4em">'
        for quote in answer.quotes[:_QUOTES]:
            yield f"<li>{_place(quote)}{_quoted(quote, answer)}</li>"
        if len(answer.quotes) > _QUOTES:
            yield f"<li>… {len(answer.quotes) - _QUOTES:,} more quotes</li>"
        yield "</ul>"
    facts = " · ".join([*answer_facts(answer), answer_run(answer)])
    yield f'<div style="{_SMALL}">{_html(facts)}</div></div>'


def _place(quote: Quote) -> str:
    line = "" if quote.line is None else f":{quote.line}"
    checked = "✓ verified" if quote.verified else "✗ not verified"
    return f"<code>{_html(quote.document + line)}</code> {checked}"


def _quoted(quote: Quote, answer: Answer) -> str:
    """The quote's text, where the answer does not hold it already."""
    if quote.text.strip() in answer.text:
        return ""
    return f'<pre style="{_PRE}">{_html(_cut(quote.text, _QUOTE_CHARS))}</pre>'


def _beginning(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more of {len(text):,} characters)"


def _html(text: str) -> str:
    return html.escape(printable(text))
