"""``rlm_query`` and its relatives: children with a REPL of their own, as code asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .calls import Calls
from .jobs import Job
from .referring import Referring
from .results import Results
from .signatures import telling


def child_calls(calls: Calls, referring: Referring) -> dict[str, Callable[..., Any]]:
    """The functions, asking through ``calls``."""

    def request(
        question: Any, context: Any, model: str | None, schema: Any, insist: bool
    ) -> dict[str, Any]:
        if not isinstance(question, str):
            raise TypeError(f"the question must be a str, not {type(question).__name__}")
        if not question.strip():
            raise ValueError("the question is empty: a child knows nothing but it and its context")
        asked = {"question": question, "context": referring.asked(context), "model": model}
        if schema is not None:
            from .shapes import written

            asked["schema"] = written(schema)
        return asked | {"insist": True} if insist else asked

    def requests(
        questions: Any, contexts: Any, model: str | None, schema: Any, insist: bool
    ) -> dict[str, Any]:
        pairs = _pairs(questions, contexts)
        wanted = [request(question, given, model, schema, insist) for question, given in pairs]
        return {"wanted": wanted}

    def rlm_query(
        question: str,
        context: Any = None,
        model: str | None = None,
        schema: Any = None,
        insist: bool = False,
    ) -> Any:
        """Ask a child about ``context``, given by reference; raises ChildFailed where it fails.

        Gives its answer as text; with a ``schema`` the value that it hands over, which fits it. A
        child that would have your own question and nearly all of your data raises ChildRefused,
        unless you ``insist``. A text that is in the data several times is given as it stands there
        first: quotes of the child are of that place.
        """
        return calls.ask("rlm_query", request(question, context, model, schema, insist))

    def rlm_query_batched(
        questions: Iterable[str],
        contexts: Iterable[Any] | None = None,
        model: str | None = None,
        schema: Any = None,
        insist: bool = False,
    ) -> Results:
        """Ask all questions at once, each about its own context, or one about every context."""
        wanted = requests(questions, contexts, model, schema, insist)
        return Results.from_frames(calls.ask("rlm_query_batched", wanted))

    async def arlm_query(
        question: str,
        context: Any = None,
        model: str | None = None,
        schema: Any = None,
        insist: bool = False,
    ) -> Any:
        """``rlm_query`` for ``await`` and ``asyncio.gather``; cancelling it ends the child."""
        asked = request(question, context, model, schema, insist)
        return await calls.ask_async("rlm_query", asked)

    def rlm_start(
        questions: Iterable[str],
        contexts: Iterable[Any] | None = None,
        model: str | None = None,
        schema: Any = None,
        insist: bool = False,
    ) -> Job:
        """As ``rlm_query_batched``, and go on at once; the answers are fetched from the job."""
        wanted = requests(questions, contexts, model, schema, insist)
        return Job(calls.ask, calls.ask("rlm_start", wanted), len(wanted["wanted"]))

    functions = (rlm_query, rlm_query_batched, arlm_query, rlm_start)
    return telling(functions)


def _pairs(questions: Any, contexts: Any) -> list[tuple[Any, Any]]:
    given = None if contexts is None else list(contexts)
    if isinstance(questions, str):
        if given is None:
            raise TypeError("a batch takes a list of questions, or one question and contexts")
        return [(questions, context) for context in given]
    asked = list(questions)
    if given is None:
        return [(question, None) for question in asked]
    if len(given) != len(asked):
        raise ValueError(f"{len(asked)} questions but {len(given)} contexts")
    return list(zip(asked, given, strict=True))
