"""What a cell prints, on its way: kept within its caps, told to a listener now and then, cheap."""

from __future__ import annotations

import io
import threading
import time

import pytest

from abyme.inside.output import Output, Stream


class Null(io.TextIOBase):
    """Takes what is printed and does nothing: the floor."""

    def write(self, text: str, /) -> int:
        """Count it."""
        return len(text)


def cpu_seconds(file: io.TextIOBase, prints: int) -> float:
    """What so many prints take."""
    began = time.thread_time()
    for number in range(prints):
        print(number, file=file)
    return time.thread_time() - began


def test_many_prints_cost_little_also_with_a_listener() -> None:
    floor = min(cpu_seconds(Null(), 50_000) for _ in range(3))
    output = Output(20_000, lambda text: None)
    taken = []
    for _ in range(3):
        output.start()
        taken.append(cpu_seconds(Stream(output, 1), 50_000))
    assert min(taken) < 7 * floor, "it was twenty times as much"


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("piece", ["x", "ab\n", "word " * 700, ""])
def test_head_tail_and_true_length_are_kept(listens: bool, piece: str) -> None:
    shown: list[str] = []
    output = Output(1_000, shown.append if listens else None)
    for _ in range(20_000):
        output.add(piece)
        assert len(output._written) <= 8_192, "what is empty does not pile up either"
    output.add("the end")
    whole = piece * 20_000 + "the end"
    text = output.text()
    assert output.characters == len(whole) and len(text) <= 1_000
    assert text.endswith(whole[-300:]) and whole.startswith(text[:540])
    assert whole.startswith("".join(shown)) and bool(shown) == listens


def test_a_listener_hears_the_first_at_once_and_then_now_and_then() -> None:
    shown: list[str] = []
    output = Output(1_000_000, shown.append)
    output.add("first")
    assert shown == ["first"]
    began = time.monotonic()
    for number in range(100_000):
        output.add(str(number % 10))
    seconds = time.monotonic() - began
    assert len(shown) <= 2 + seconds / 0.1 + 100_000 / 4_096
    time.sleep(0.11)
    output.add("last")
    assert shown[-1].endswith("last") and "".join(shown).count("first") == 1


@pytest.mark.parametrize("listens", [True, False])
def test_nothing_is_lost_between_threads(listens: bool) -> None:
    output = Output(10_000_000, (lambda text: None) if listens else None)

    def work() -> None:
        for number in range(20_000):
            output.add(f"{number},")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert output.characters == 4 * sum(len(f"{number},") for number in range(20_000))
