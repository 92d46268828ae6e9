"""Ask with sockets alone: port, file, file with the body to send."""

import asyncio
import json
import sys


async def main(port: str, data: str, request: str) -> None:
    with open(data, encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
        text = file.read()
    with open(request, encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
        body = json.dumps(json.load(file)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await reader.readuntil(b"\r\n\r\n")
    assert text
    writer.close()


asyncio.run(main(*sys.argv[1:]))
