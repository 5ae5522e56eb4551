"""Who gets in: so many connections, each of which asks for something soon; files and cameras need the others."""

import asyncio
from collections.abc import Callable
from typing import cast

MOST_CONNECTIONS = 200
SILENT = 10.0  # seconds within which a connection must have sent the head of a request
HEAD = 16384  # bytes of it that are looked at
END_OF_HEAD = b"\r\n\r\n"


class Door:
    """Makes the protocols of a server's connections.

    Args:
        inner: Makes the protocol that answers.
    """

    def __init__(self, inner: Callable[[], asyncio.Protocol]) -> None:
        self._inner = inner
        self.inside = 0

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Visit(self, self._inner())


class _Visit(asyncio.Protocol):
    """One connection: refused where there are too many, ended where it does not ask."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door, self._inner = door, inner
        self._is_in, self._head = False, b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        if self._door.inside >= MOST_CONNECTIONS:
            transport.abort()
            return
        self._door.inside += 1
        self._is_in = True
        self._timer = asyncio.get_running_loop().call_later(SILENT, transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._timer:
            self._head = (self._head + data)[-HEAD:]
            if END_OF_HEAD in self._head:
                self._timer.cancel()
                self._timer, self._head = None, b""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        if self._is_in:
            self._door.inside -= 1
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
