"""One engine for scripts, running loops and threads; runs apart; nothing left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Answer, Limits
from abyme.events import CallEnded, OutputAdded, RunEnded, TextAdded, WorkerStarted
from support.left import eventually, tasks, workers
from support.runs import cell, events_of, of_kind, scripted_rlm, settled
from support.stub import Stub
from support.stub_actions import Hang

SPIN = cell("best = 'so far'\nwhile True: pass")


def test_completion_works_inside_a_running_loop(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(len(context))")])

    async def main() -> list[Answer]:
        blocking = rlm.completion("q", "abc")
        awaited = await rlm.acompletion("q", "abcd")
        return [blocking, awaited, *await asyncio.gather(*[rlm.acompletion("q", "x")] * 1)]

    assert [answer.value for answer in asyncio.run(main())] == [3, 4, 1]


def test_completion_works_from_many_threads(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(context)")])
    got: dict[int, str] = {}

    def one(number: int) -> None:
        got[number] = rlm.completion("q", f"text {number}").text

    threads = [threading.Thread(target=one, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {number: f"text {number}" for number in range(10)}


def test_a_stream_gives_every_event_and_then_the_answer(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("print('x' * 50)"), cell("FINAL('done')")])
    stream = rlm.stream("q", "text")
    seen = list(stream)
    assert isinstance(seen[-1], RunEnded) and seen[-1].answer == stream.answer
    assert of_kind(seen, OutputAdded)[0].text.startswith("xxx")
    journalled = [event for event in seen if not isinstance(event, OutputAdded | TextAdded)]
    assert journalled == events_of(runs, stream.answer)

    async def main() -> list[Any]:
        async with rlm.stream("q", "text") as again:
            return [event async for event in again]

    assert isinstance(asyncio.run(main())[-1], RunEnded)


def test_a_stream_carries_the_roots_text_as_it_comes(runs: Path) -> None:
    with Stub(lambda request: cell("FINAL('ok')")) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs)
        texts = of_kind(list(rlm.stream("q", "text")), TextAdded)
    assert "".join(event.text for event in texts) == cell("FINAL('ok')")


def test_leaving_a_stream_early_ends_its_run(runs: Path) -> None:
    rlm = scripted_rlm(runs, [SPIN])
    with rlm.stream("q", "text") as stream:
        for event in stream:
            if isinstance(event, WorkerStarted):
                break
    assert stream.answer.reason == "interrupted"
    assert eventually(lambda: not workers() and not tasks())


def test_cancelling_leaves_no_task_no_socket_and_no_process(runs: Path) -> None:
    replies = iter([cell("r = llm_query_batched([str(i) for i in range(16)])")])

    def script(request: Any) -> Any:
        return next(replies) if len(request.messages) == 2 else Hang()

    with Stub(script) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs)

        async def main() -> None:
            running = asyncio.create_task(rlm.acompletion("q", "text"))
            async with asyncio.timeout(60):
                while len(stub.requests) < 17:
                    await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(main())
        settled()
        assert not workers()
        assert not tasks()
        # The root's own connection is idle in the pool; the 16 in flight are closed.
        assert eventually(lambda: stub.open_connections <= 1)
    folder = next(runs.iterdir())
    events = events_of(runs, Answer("", "", "failed", run=folder.name))
    assert isinstance(events[-1], RunEnded) and events[-1].answer.reason == "interrupted"
    cancelled = [event for event in of_kind(events, CallEnded) if event.error == "cancelled"]
    assert len(cancelled) == 16 and all(event.charged for event in cancelled)


def test_interrupting_returns_the_draft_quickly(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("answer['content'] = 'draft'"), SPIN])
    handle = rlm.start("q", "text")
    assert eventually(lambda: bool(workers()))
    time.sleep(1.0)
    handle.interrupt()
    answer = handle.future.result(timeout=60)
    assert (answer.status, answer.text, answer.reason) == ("partial", "draft", "interrupted")
    assert not workers()


def test_fifty_runs_at_once_stay_apart(runs: Path) -> None:
    def root(request: Any) -> str:
        if len(request.messages) == 2:
            return cell("mine = context.split()[-1]\nr = llm_query('say ' + mine)\nprint(mine)")
        return cell("FINAL(r + '/' + mine)")

    rlm = scripted_rlm(runs, root, sub=lambda r: r.messages[0].text.removeprefix("say "))

    async def main() -> list[Answer]:
        asked = [rlm.acompletion("which?", f"the text of {number}") for number in range(50)]
        return list(await asyncio.gather(*asked))

    answers = asyncio.run(main())
    assert [answer.text for answer in answers] == [f"{n}/{n}" for n in range(50)]
    assert len({answer.run for answer in answers}) == 50
    assert all(answer.usage.calls == 3 for answer in answers)
    for number, answer in enumerate(answers):
        journal = (runs / answer.run / "journal.jsonl").read_text()
        assert f'say {number}"' in journal
        assert f'say {(number + 1) % 50}"' not in journal
    assert eventually(lambda: not workers() and not tasks())


def test_a_listener_that_raises_does_not_end_the_run(
    runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(1)")])

    def broken(event: Any) -> None:
        raise RuntimeError("no")

    assert rlm.start("q", "text", broken).future.result().status == "complete"
    assert "a listener raised and is dropped: RuntimeError('no')" in caplog.text


def script(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    """A Python process of its own that runs ``code``."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ABYME_RUNS": str(tmp_path / "runs")},
    )


def test_the_interpreter_ends_cleanly_with_a_run_under_way(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
        import time
        from abyme import RLM
        from abyme.models.scripted import Scripted
        rlm = RLM(Scripted(["```repl\\nimport os\\nprint(os.getpid())\\nwhile True: pass\\n```"]))
        from abyme.events import OutputAdded
        for event in rlm.stream("q", "text"):
            if isinstance(event, OutputAdded):
                print(event.text, flush=True)
                break
        """,
    )
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert eventually(lambda: not Path(f"/proc/{int(out)}").exists())


def test_a_forked_child_gets_an_engine_of_its_own(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
        import os
        from abyme import RLM
        from abyme.models.scripted import Scripted
        rlm = RLM(Scripted(["```repl\\nFINAL(len(context))\\n```"]))
        assert rlm.completion("q", "abc").value == 3
        pid = os.fork()
        value = RLM(Scripted(["```repl\\nFINAL(len(context))\\n```"])).completion("q", "abcd").value
        if pid == 0:
            os._exit(value)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4 == value
        """,
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_limits_bind_over_http_too(runs: Path) -> None:
    def script(request: Any) -> Any:
        if "Question:" in request.prompt:
            return cell(
                "from concurrent.futures import ThreadPoolExecutor\n"
                "with ThreadPoolExecutor(50) as pool: list(pool.map(llm_query, ['x' * 400] * 50))"
            )
        return "sub reply"

    with Stub(script) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_calls=10, max_seconds=60))
        answer = rlm.completion("q", "text")
        assert answer.status == "partial" and answer.usage.calls == 10
        assert len(stub.requests) == 10


def test_a_run_can_be_ended_while_its_data_is_loaded(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1200):
        (folder / f"{number}.txt").write_text("text")
    handle = scripted_rlm(runs, [cell("FINAL(1)")]).start("q", folder)
    handle.interrupt()
    answer = handle.future.result(timeout=60)
    assert (answer.status, answer.reason) == ("failed", "interrupted")
    short = scripted_rlm(runs, [cell("FINAL(1)")], limits=Limits(max_seconds=0.0001))
    answer = short.completion("q", folder)
    assert answer.status == "failed" and answer.reason.startswith("max_seconds")
    assert answer.usage.calls == 0
