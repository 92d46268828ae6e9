"""The host's first frame to a worker: its data by name and size, its functions, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from abyme.context.documents import Data
from abyme.inside.codec import Frame
from abyme.sandbox.base import Function, Host


def hello(
    data: Data,
    host: Host,
    functions: Sequence[Function],
    *,
    text_bytes: int,
    output_chars: int,
    memory_bytes: int,
    packages: Mapping[str, Sequence[str]],
    layers: Sequence[str],
    seed: int,
) -> Frame:
    """The frame; the settings are those of :class:`~abyme.sandbox.process.ProcessSandbox`."""
    return {
        "t": "hello",
        "kind": data.kind,
        "documents": [
            {
                "name": document.name,
                "bytes": document.bytes,
                "encoding": document.encoding,
                "errors": document.errors,
                "bom": document.bom,
                **({"offset": document.offset} if document.offset else {}),
            }
            for document in data.documents
        ],
        "tools": [
            {"name": item.name, "parameters": list(item.parameters), "doc": item.doc}
            for item in functions
        ],
        "text_limit": text_bytes,
        "output_chars": output_chars,
        "stream": host.listens,
        "memory_bytes": memory_bytes,
        "packages": packages,
        "layers": layers,
        "seed": seed,
    }
