"""The page of a watch, by aiohttp in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from typing import cast

from aiohttp import web

from vadistill.errors import InputError, in_one_line
from vadistill.watch.config import WebConfig
from vadistill.watch.web_access import Access
from vadistill.watch.web_answers import add_headers, errors
from vadistill.watch.web_desk import Desk
from vadistill.watch.web_door import Door
from vadistill.watch.web_routes import Routes

__all__ = ["Desk", "WebServer"]
BODY = 4096  # bytes of a request at most
STARTS = 15.0  # seconds within which the server listens
KEPT = 30.0  # seconds that a connection is kept for another request
LINGERS = 0.5  # seconds that an answer on its way may take when the server ends


class WebServer(threading.Thread):
    """Serves the page until it is stopped.

    Args:
        config: Address, port and token.
        desk: Answers.

    Attributes:
        port: It listens at, from ``listen`` on.
    """

    def __init__(self, config: WebConfig, desk: Desk) -> None:
        super().__init__(name="web page", daemon=True)
        self._config, self._desk = config, desk
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._failure = f"nothing happens for {STARTS:.0f} seconds"
        self.port = config.port

    def listen(self) -> None:
        """Start, and return when the page can be opened.

        Raises:
            InputError: The address cannot be had.
        """
        self.start()
        self._ready.wait(STARTS)
        if self._failure:
            raise InputError(
                f"web: {self._config.address}:{self._config.port} cannot be had ({self._failure}); expected an "
                "address of this machine and a free port (web.address, web.port)"
            )

    def stop(self) -> None:
        """End, within two seconds."""
        if self.is_alive() and self._loop:
            self._loop.call_soon_threadsafe(self._over.set)
            self.join(2.0)

    def run(self) -> None:
        """Serve."""
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(self._made(), access_log=None, shutdown_timeout=LINGERS, keepalive_timeout=KEPT)
        await runner.setup()
        try:
            door = Door(cast(Callable[[], asyncio.Protocol], runner.server))
            loop = asyncio.get_running_loop()
            server = await loop.create_server(door, self._config.address, self._config.port, reuse_address=True)
            self.port, self._failure = server.sockets[0].getsockname()[1], ""
        except (OSError, UnicodeError) as error:
            self._failure = (isinstance(error, OSError) and error.strerror) or in_one_line(error)
        self._ready.set()
        if not self._failure:
            await self._over.wait()
            server.close()
        await runner.cleanup()

    def _made(self) -> web.Application:
        access = Access(self._config)
        app = web.Application(client_max_size=BODY, middlewares=[errors, access.check])
        app.on_response_prepare.append(add_headers)
        app.add_routes(access.routes() + Routes(self._desk, self._over).all())
        return app
