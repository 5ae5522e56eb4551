"""Answers that go on: server-sent events, and Motion JPEG."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from vadistill.watch.web_answers import as_json
from vadistill.watch.web_desk import Desk, Events

EVERY = 0.1  # seconds between looks for something new
HEARTBEAT = 15.0  # seconds between signs of life of quiet events
STALLED = 20.0  # seconds after which a client that takes nothing is given up
MOST = 64  # streams at once
BOUNDARY = b"--frame\r\n"


class Streams:
    """Sends what is new until the client goes or the server ends.

    Args:
        desk: Knows what is new.
        over: The server is to end.
    """

    def __init__(self, desk: Desk, over: asyncio.Event) -> None:
        self._desk, self._over = desk, over
        self._open = 0

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Alarms, and states of cameras with the server's time, as server-sent events.

        A page that was too slow, so that some may be lost, is sent away; it comes back and asks for all anew.
        """
        with self._counted(), self._subscribed() as listener:
            answer = await _begun(request, "text/event-stream")
            await _send(request, answer, b"retry: 2000\n\n")
            sent = time.monotonic()
            async for _ in self._rounds(request):
                new = list(_taken(listener))
                text = "".join(f"event: {kind}\ndata: {as_json(content)}\n\n" for kind, content in new)
                if not text and time.monotonic() - sent >= HEARTBEAT:
                    text = ": alive\n\n"
                if text:
                    await _send(request, answer, text.encode())
                    sent = time.monotonic()
                if 0 < listener.maxsize <= len(new):
                    break
        return answer

    async def pictures(self, request: web.Request, camera: str) -> web.StreamResponse:
        """Analysed frames, with heat, as they come."""
        with self._counted():
            answer = await _begun(request, "multipart/x-mixed-replace; boundary=frame")
            await _send(request, answer, BOUNDARY)
            last = None
            async for _ in self._rounds(request):
                found = await asyncio.to_thread(self._desk.picture, camera)
                if found and found[0] != last:
                    last, picture = found
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
                    # Browsers show a picture when its end has come: the next boundary, and not its length.
                    await _send(request, answer, head + picture + b"\r\n" + BOUNDARY)
        return answer

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._open >= MOST:
            raise web.HTTPServiceUnavailable(reason="too many open pages", headers={"Retry-After": "10"})
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextmanager
    def _subscribed(self) -> Iterator[Events]:
        listener = self._desk.subscribe()
        try:
            yield listener
        finally:
            self._desk.unsubscribe(listener)

    async def _rounds(self, request: web.Request) -> AsyncIterator[None]:
        """Yield every now and then, until the client has gone or the server is to end."""
        while not self._over.is_set() and request.transport and not request.transport.is_closing():
            yield
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), EVERY)


async def _begun(request: web.Request, kind: str) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": kind, "X-Accel-Buffering": "no"})
    await answer.prepare(request)
    return answer


async def _send(request: web.Request, answer: web.StreamResponse, content: bytes) -> None:
    """Send something to a client that takes it.

    Raises:
        ConnectionError: It takes nothing.
    """
    try:
        async with asyncio.timeout(STALLED):
            await answer.write(content)
    except TimeoutError:
        if request.transport:
            request.transport.abort()
        raise ConnectionAbortedError("stalled") from None


def _taken(listener: Events) -> Iterator[tuple[str, dict]]:
    """Yield what waits in a queue; states of cameras with the server's time, from which a page learns their age."""
    while not listener.empty():
        kind, content = listener.get_nowait()
        yield kind, {**content, "now": time.time()} if kind == "camera" else content
