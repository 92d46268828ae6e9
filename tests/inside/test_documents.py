"""The store and the mapping over real files: exact texts, bounded mappings, helpful refusals."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.inside import documents as documents_module
from abyme.inside.decoding import Bytes, Decoder, character_width, str_bytes
from abyme.inside.documents import Documents, Store, UnknownDocument
from abyme.inside.text import LazyText
from abyme.inside.toolarge import TextTooLarge

Made = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path) -> Made:
    """A store over files with the bytes given; ``store.opened`` lists what it opened."""

    def make(
        contents: dict[str, bytes],
        *,
        kind: str = "documents",
        limit: int = 1 << 30,
        encoding: str = "utf-8",
        errors: str = "surrogateescape",
        bom: int = 0,
    ) -> Store:
        paths = []
        for number, data in enumerate(contents.values()):
            paths.append(tmp_path / f"{number}.txt")
            paths[-1].write_bytes(data)
        records = [
            {"name": name, "bytes": len(data), "encoding": encoding, "errors": errors, "bom": bom}
            for name, data in contents.items()
        ]
        return Store(kind, records, lambda at, count: [os.open(paths[at], os.O_RDONLY)], limit)

    return make


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_text_that_fits_is_a_real_str_built_once(make_store: Made) -> None:
    text = "CRLF\r\nNUL\0é漢😀 \u2028end"
    store = make_store({"a": text.encode()}, kind="text")
    assert store.context() == text
    assert type(store.context()) is str
    assert store.context() is store.context()


@pytest.mark.parametrize(
    ("encoding", "errors", "data"),
    [
        ("utf-8", "surrogateescape", b"ok \xff\xfe\x80 \xe6\xbc \xed\xa0\x80 end\xf0\x9f"),
        ("utf-8", "surrogatepass", "lone \ud800 \udfff".encode("utf-8", "surrogatepass")),
        ("utf-16-le", "surrogatepass", "é😀\ud800x".encode("utf-16-le", "surrogatepass")),
        ("utf-32-be", "surrogatepass", "é😀\r\n".encode("utf-32-be")),
        ("latin-1", "surrogateescape", bytes(range(256))),
        ("cp1252", "surrogateescape", bytes(range(256))),
        ("shift_jis", "surrogateescape", "日本語テスト".encode("shift_jis")),
        ("gb18030", "surrogateescape", "汉字😀".encode("gb18030")),
    ],
)
@pytest.mark.parametrize("repeat", [1, 20_000])
def test_texts_are_what_their_bytes_decode_to(
    make_store: Made, encoding: str, errors: str, data: bytes, repeat: int
) -> None:
    data = data * repeat
    store = make_store({"a": data}, encoding=encoding, errors=errors)
    assert store.text(0) == data.decode(encoding, errors)


def test_a_byte_order_mark_is_no_text(make_store: Made) -> None:
    store = make_store({"a": b"\xef\xbb\xbfabc", "b": b"\xef\xbb\xbf"}, bom=3)
    assert (store.text(0), store.text(1)) == ("abc", "")


def test_empty_and_one_byte(make_store: Made) -> None:
    store = make_store({"a": b"", "b": b"x"})
    assert (store.text(0), store.text(1)) == ("", "x")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["a", "é", "ж", "漢", "😀", "\udc80"]), min_size=1, max_size=30),
    st.sampled_from(["utf-8", "utf-16-le", "utf-32-le", "latin-1", "gb18030"]),
)
def test_the_projected_width_is_the_real_one(parts: list[str], encoding: str) -> None:
    data = "".join(parts).encode(encoding, "replace") * 50
    decode = Decoder(encoding, "surrogateescape")
    text = data.decode(encoding, "surrogateescape")
    width = 1 if max(text) < "\x80" else character_width(text)
    size = len(text) * width
    assert sys.getsizeof(text + text) - sys.getsizeof(text) == size
    assert str_bytes(data, decode, 0, size) == size
    assert str_bytes(data, decode, 0, size - 1) is None


def test_one_emoji_makes_a_text_lazy(make_store: Made) -> None:
    plain, emoji = b"x" * 200_000, b"x" * 200_000 + "😀".encode()
    store = make_store({"plain": plain, "emoji": emoji}, limit=300_000)
    assert isinstance(store.text(0), str)
    lazy = store.text(1)
    assert isinstance(lazy, LazyText)
    assert lazy[-3:] == "xx😀"
    assert lazy == emoji.decode()


def test_a_large_text_that_cannot_be_cut_says_how_to_convert_it(make_store: Made) -> None:
    store = make_store(
        {"big.txt": "日本語".encode("shift_jis") * 5000}, limit=1000, encoding="shift_jis"
    )
    with pytest.raises(TextTooLarge, match=r"big\.txt.*iconv -f shift_jis -t utf-8"):
        store.text(0)


def test_few_documents_stay_mapped(make_store: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_module, "MAX_MAPPED", 4)
    size = documents_module.MAPPED_FROM
    store = make_store({str(n): bytes([97 + n]) * size for n in range(20)})
    before = descriptors()
    for _ in range(2):
        for at in range(20):
            assert store.data(at)[:1] == bytes([97 + at])
    assert descriptors() <= before + 4


def test_descriptors_are_closed_and_failures_pass_through(make_store: Made) -> None:
    store = make_store({"a": b"abc"})
    before = descriptors()
    store.text(0)
    assert descriptors() == before

    def refuse(index: int, count: int) -> list[int]:
        raise PermissionError("gone")

    with pytest.raises(PermissionError, match="gone"):
        Store("text", store.documents, refuse, 100).context()


def test_documents_read_in_order_are_asked_for_many_at_once(
    make_store: Made, tmp_path: Path
) -> None:
    store = make_store({f"{at}": b"%d" % at for at in range(300)})
    asked: list[tuple[int, int]] = []
    open_one = store._open

    def open_many(index: int, count: int) -> list[int | Bytes]:
        asked.append((index, count))
        # As a host does that cannot open one of them.
        reached = min(count, 100 - index) if index < 100 else count
        return [open_one(at, 1)[0] for at in range(index, index + reached)]

    store._open = open_many
    assert [store.data(at) for at in range(300)] == [b"%d" % at for at in range(300)]
    assert len(asked) < 30
    assert all(count <= 64 for _, count in asked)
    asked.clear()
    for at in (10, 200, 4):  # here and there: one by one
        store.data(at)
    assert [count for _, count in asked] in ([1, 1, 1], [1, 1], [1])


def test_large_documents_are_not_opened_before_they_are_needed(make_store: Made) -> None:
    store = make_store({f"{at}": b"x" * (100_000 if at % 2 else 10) for at in range(20)})
    ahead: list[int] = []
    open_one = store._open

    def open_many(index: int, count: int) -> list[int | Bytes]:
        ahead.extend(range(index + 1, index + count))
        return [open_one(at, 1)[0] for at in range(index, index + count)]

    store._open = open_many
    for at in range(20):
        assert len(store.data(at)) == (100_000 if at % 2 else 10)
    assert all(at % 2 == 0 for at in ahead)


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_document_that_shrank_says_so(make_store: Made, size: int) -> None:
    store = make_store({"log.txt": b"x" * size})
    store.documents[0]["bytes"] = size + 1
    before = descriptors()
    with pytest.raises(OSError, match=r"log\.txt became shorter"):
        store.text(0)
    assert descriptors() == before


@pytest.fixture
def context(make_store: Made) -> Documents:
    contents = {"src/main.py": b"import os", "docs/read me.md": "é".encode(), "data.csv": b"1,2"}
    made = make_store(contents).context()
    assert isinstance(made, Documents)
    return made


def test_documents_are_a_mapping_in_loaded_order(context: Documents) -> None:
    assert list(context) == ["src/main.py", "docs/read me.md", "data.csv"]
    assert context.names == tuple(context)
    assert dict(context)["docs/read me.md"] == "é"
    assert [text for _, text in context.items()] == list(context.values())
    assert (context[0], context[-1], len(context)) == ("import os", "1,2", 3)
    assert "data.csv" in context
    assert "nope" not in context
    assert context.get("nope") is None
    assert context.info("data.csv") == {"name": "data.csv", "bytes": 3, "encoding": "utf-8"}
    assert context.info(0)["name"] == "src/main.py"
    assert context == context
    assert context != {}


@pytest.mark.parametrize(
    ("asked", "close"),
    [("main.py", "src/main.py"), ("data.cvs", "data.csv"), ("read", "docs/read me.md")],
)
def test_a_wrong_name_is_told_which_come_close(context: Documents, asked: str, close: str) -> None:
    with pytest.raises(KeyError, match=re.escape(close)) as raised:
        context[asked]
    assert isinstance(raised.value, UnknownDocument)
    with pytest.raises(KeyError, match=r"context\.names"):
        context["zzzzzz"]


def test_other_misuse_is_told_what_to_do(context: Any) -> None:
    with pytest.raises(TypeError, match=r"names\[a:b\]"):
        context[0:2]
    with pytest.raises(TypeError, match="name or position"):
        context[1.5]
    with pytest.raises(IndexError, match="3 documents"):
        context[3]
    with pytest.raises(TypeError, match="read-only"):
        context["a"] = "b"
    with pytest.raises(TypeError, match="read-only"):
        del context["data.csv"]


def test_repr_says_size_and_use_but_no_content(context: Documents) -> None:
    assert "3 documents, 14 bytes" in repr(context)
    assert "import os" not in repr(context)
    assert len(repr(context)) < 300


def test_kept_texts_are_bounded_but_the_last_one_stays(make_store: Made) -> None:
    store = make_store({str(n): b"x" * 1000 for n in range(50)})
    context = Documents(store, kept_bytes=5000)
    first = context[0]
    assert context[0] is first
    for _ in context.values():
        pass
    assert len(context._texts) <= 5
    assert context[0] is not first
    tiny = Documents(store, kept_bytes=1)
    assert tiny[7] is tiny[7]


def test_going_through_many_documents(make_store: Made) -> None:
    contents = {f"file{n}.txt": b"line one\nline two\n" for n in range(500)}
    context = make_store(contents).context()
    assert isinstance(context, Documents)
    started = time.perf_counter()
    assert sum(len(text) for text in context.values()) == 9_000
    print(f"{(time.perf_counter() - started) / 500 * 1e6:.0f} µs a document")


def test_threads_share_documents(make_store: Made) -> None:
    store = make_store({str(n): bytes([97 + n % 26]) * 1000 for n in range(100)})
    context = Documents(store, kept_bytes=5000)

    def read(start: int) -> bool:
        order = [(start + n * 7) % 100 for n in range(300)]
        return all(context[at] == chr(97 + at % 26) * 1000 for at in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert context._bytes <= 5000
