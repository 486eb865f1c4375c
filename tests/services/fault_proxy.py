"""A proxy between a client and an S3 server that does to requests what networks and busy servers do.

It runs in a thread of its own, on a free port, and writes down every request. The Host header passes through, so that
signatures stay valid::

    with FaultProxy(server.endpoint) as proxy:
        proxy.rules.append(Rule(Fault.STATUS, method="GET", probability=0.3))
        ...                                     # use proxy.endpoint
        proxy.requests                          # what came
"""

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from tests.services.ceph import Endpoint

HOST = "127.0.0.1"
CHUNK = 65536


class Fault(Enum):
    """What a rule does to a request."""

    STATUS = auto()
    """Answer with ``status``, as a busy server does; the server never sees the request."""
    RESET = auto()
    """Reset the connection before anything is passed on."""
    RESET_REQUEST = auto()
    """Pass on ``bytes`` of the request's body, then reset both connections."""
    RESET_RESPONSE = auto()
    """Pass back ``bytes`` of the response's body, then reset the connection."""
    CUT_RESPONSE = auto()
    """Pass back ``bytes`` of the response's body, then close the connection in order."""
    FLIP = auto()
    """Invert the byte at ``bytes`` of the response's body."""
    LOSE_ANSWER = auto()
    """Let the server do it, then reset the connection instead of answering."""
    DELAY = auto()
    """Wait ``seconds`` before anything is passed on."""
    THROTTLE = auto()
    """Pass both bodies on at ``bytes`` per second."""
    HANG = auto()
    """Never answer."""


_ON_REQUESTS = {Fault.RESET_REQUEST, Fault.THROTTLE}
"""What happens to the body of a request."""


@dataclass
class Rule:
    """A fault and the requests that it befalls; the first rule that fits a request is applied, no other.

    Attributes:
        fault: What happens.
        method: Of this method alone; "" is any.
        path: Of paths ``/bucket/key?query`` in which this regular expression is found.
        probability: How probable it is for a request that fits.
        times: How often it still happens; None is without end.
        bytes: See the faults.
        seconds: See the faults.
        status: See the faults.
        hits: How often it has happened.
    """

    fault: Fault
    method: str = ""
    path: str = ""
    probability: float = 1.0
    times: int | None = None
    bytes: int = 0
    seconds: float = 0.0
    status: int = 503
    hits: int = field(default=0, init=False)


class Request(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    range: str
    fault: Fault | None

    @property
    def key(self) -> str:
        """Bucket and key."""
        return unquote(urlsplit(self.path).path).lstrip("/")


class _Head(NamedTuple):
    """The first line and the headers of a request or a response."""

    raw: bytes
    line: str
    headers: dict[str, str]


class FaultProxy:
    """The proxy; a context manager that starts and stops it.

    Args:
        upstream: The server behind it.
        seed: Of the rules' probabilities.
    """

    def __init__(self, upstream: Endpoint, seed: int = 0) -> None:
        self._upstream = upstream
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="fault-proxy", daemon=True)
        self._ready = threading.Event()
        self._port = 0
        self.rules: list[Rule] = []
        self.requests: list[Request] = []

    @property
    def endpoint(self) -> Endpoint:
        """The server as it is seen through the proxy."""
        return replace(self._upstream, url=f"http://{HOST}:{self._port}")

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, HOST, 0, limit=2**20, backlog=512))
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(_ended(tasks))
        self._loop.run_until_complete(asyncio.sleep(0))  # lets closed connections close
        self._loop.close()

    def _pick(self, method: str, path: str) -> Rule | None:
        for rule in self.rules:
            fits = rule.method in {"", method} and re.search(rule.path, path) and rule.times != 0
            if fits and self._random.random() < rule.probability:
                rule.times = None if rule.times is None else rule.times - 1
                rule.hits += 1
                return rule
        return None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, urlsplit(self._upstream.url))
        with suppress(asyncio.CancelledError):
            try:
                while (head := await _read_head(reader)) is not None:
                    method, path, _ = head.line.split(" ", 2)
                    rule = self._pick(method, path)
                    fault = None if rule is None else rule.fault
                    self.requests.append(Request(method, path, head.headers.get("range", ""), fault))
                    if not await connection.handle(head, rule):
                        break
            except (OSError, asyncio.IncompleteReadError):
                connection.reset()
            finally:
                connection.close()


class _Connection:
    """A client's connection, and the one to the server that its requests are passed on over."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Any) -> None:
        self._client = reader, writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._upstream = upstream

    async def handle(self, head: _Head, rule: Rule | None) -> bool:
        """Deal with one request; False where the connection has come to its end."""
        match rule:
            case Rule(Fault.STATUS):
                return await self._answer(head, rule.status)
            case Rule(Fault.RESET):
                self.reset()
                return False
            case Rule(Fault.HANG):
                await asyncio.sleep(3600)
            case Rule(Fault.DELAY):
                await asyncio.sleep(rule.seconds)
        return await self._forward(head, rule)

    def reset(self) -> None:
        """Reset the client's connection, and the server's."""
        for pair in (self._client, self._server):
            if pair is not None:
                _reset(pair[1])

    def close(self) -> None:
        """Close both connections."""
        for pair in (self._client, self._server):
            if pair is not None:
                pair[1].close()

    async def _answer(self, head: _Head, status: int) -> bool:
        reader, writer = self._client
        async for _ in _body(reader, head.headers):
            pass
        text = b"" if head.line.startswith("HEAD") else b"<Error><Code>SlowDown</Code></Error>"
        writer.write(b"HTTP/1.1 %d Injected\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text))
        await writer.drain()
        return True

    async def _forward(self, head: _Head, rule: Rule | None) -> bool:
        fault = None if rule is None else rule.fault
        limit = 0 if rule is None else rule.bytes
        reader, writer = self._client
        if self._server is None:
            self._server = await asyncio.open_connection(self._upstream.hostname, self._upstream.port, limit=2**20)
        server_reader, server_writer = self._server
        server_writer.write(head.raw)
        sent = _body(reader, head.headers)
        if not await _copy(sent, server_writer, limit, fault if fault in _ON_REQUESTS else None):
            self.reset()
            return False
        answer = await _read_head(server_reader)
        if answer is None:
            raise ConnectionResetError
        status = int(answer.line.split(" ")[1])
        empty = head.line.startswith("HEAD") or status in {204, 304}
        received = _body(server_reader, {} if empty else answer.headers)
        if fault is Fault.LOSE_ANSWER:
            async for _ in received:
                pass
            self.reset()
            return False
        writer.write(answer.raw)
        if not await _copy(received, writer, limit, fault if fault is not Fault.RESET_REQUEST else None):
            if fault is Fault.RESET_RESPONSE:
                await asyncio.sleep(0.05)  # the bytes before the reset arrive
                self.reset()
            return False
        return "close" not in (answer.headers.get("connection", "") + head.headers.get("connection", "")).lower()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: AsyncIterator[bytes], writer: asyncio.StreamWriter, limit: int, fault: Fault | None) -> bool:
    """Pass a body on; False where the fault ends it early."""
    done = 0
    async for data in source:
        if fault in {Fault.RESET_REQUEST, Fault.RESET_RESPONSE, Fault.CUT_RESPONSE} and done + len(data) > limit:
            writer.write(data[: limit - done])
            await writer.drain()
            return False
        if fault is Fault.FLIP and done <= limit < done + len(data):
            at = limit - done
            data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]  # noqa: PLW2901
        writer.write(data)
        done += len(data)
        await writer.drain()
        if fault is Fault.THROTTLE:
            await asyncio.sleep(len(data) / limit)
    return True


async def _read_head(reader: asyncio.StreamReader) -> _Head | None:
    """A head; None where the connection was closed before one."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *lines = raw[:-4].decode("latin-1").split("\r\n")
    headers = (header.partition(":") for header in lines)
    return _Head(raw, line, {name.strip().lower(): value.strip() for name, _, value in headers})


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """A body as it is on the wire."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        size = -1
        while size != 0:
            line = await reader.readline()
            yield line
            size = int(line.split(b";")[0], 16)
            yield await reader.readexactly(size + 2)
        return
    left = int(headers.get("content-length", 0))
    while left:
        data = await reader.read(min(left, CHUNK))
        if not data:
            raise ConnectionResetError
        left -= len(data)
        yield data


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST, whatever it still holds."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
