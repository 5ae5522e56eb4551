"""The page of a watch and what it asks for, by aiohttp in a thread of its own."""

import asyncio
import json
import logging
import math
import queue
import re
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from aiohttp import web

from vadistill.errors import InputError
from vadistill.watch.alarm import CameraStatus
from vadistill.watch.config import WebConfig
from vadistill.watch.web_access import Access

log = logging.getLogger(__name__)
PAGE, LOGIN = (Path(__file__).with_name(name) for name in ("page.html", "login.html"))
BODY = 4096  # bytes of a request at most
STARTS = 15.0  # seconds within which the server listens
MOST_ALARMS, MOST_SECONDS, MOST_POINTS = 500, 7 * 86400.0, 2000
HEARTBEAT = 15.0  # seconds between signs of life of the events
FASTEST = 0.1  # seconds between pictures of a stream
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Events = queue.Queue[tuple[str, dict[str, Any]]]


class Desk(Protocol):
    """What the page needs of the watch; see ``watch.app.Watch``."""

    def cameras(self) -> Sequence[CameraStatus]: ...  # noqa: D102
    def picture(self, camera: str) -> tuple[float, bytes] | None: ...  # noqa: D102
    def alarms(  # noqa: D102
        self, camera: str | None, since: float | None, until: float | None, limit: int
    ) -> list[dict[str, Any]]: ...
    def file(self, relative: str) -> Path: ...  # noqa: D102
    def set_feedback(self, alarm: str, is_alarm: bool | None) -> None: ...  # noqa: D102
    def scores(self, camera: str, since: float, until: float) -> tuple[np.ndarray, np.ndarray]: ...  # noqa: D102
    def would_alarm(self, camera: str, threshold: float, since: float) -> int: ...  # noqa: D102
    def set_threshold(self, camera: str, value: float | None) -> None: ...  # noqa: D102
    def metrics(self) -> bytes: ...  # noqa: D102
    def healthy(self) -> tuple[bool, str]: ...  # noqa: D102
    def subscribe(self) -> Events: ...  # noqa: D102
    def unsubscribe(self, listener: Events) -> None: ...  # noqa: D102


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
        self._loop = asyncio.new_event_loop()
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._failure: OSError | None = None
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
                f"web: {self._config.address}:{self._config.port} cannot be had ({self._failure.strerror}); "
                "expected a free port (web.port)"
            )

    def stop(self) -> None:
        """End, within two seconds."""
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self.join(2.0)

    def run(self) -> None:
        """Serve."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        access = Access(self._config)
        app = web.Application(client_max_size=BODY, middlewares=[_headers, _errors, access.check])
        app.add_routes(access.routes(LOGIN) + Routes(self._desk, self._over).all())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, self._config.address, self._config.port)
        try:
            await site.start()
            self.port = runner.addresses[0][1]
            access.port = self.port
        except OSError as error:
            self._failure = error
        self._ready.set()
        if not self._failure:
            await self._over.wait()
        await runner.cleanup()


class Routes:
    """What each address answers.

    Args:
        desk: Knows the answers.
        over: Ends streams.
    """

    def __init__(self, desk: Desk, over: asyncio.Event) -> None:
        self._desk, self._over = desk, over

    def all(self) -> list[web.RouteDef]:
        """Return all routes."""
        return [
            web.get("/", self.page),
            web.get("/api/cameras", self.cameras),
            web.get("/api/cameras/{camera}/scores", self.scores),
            web.get("/api/cameras/{camera}/threshold", self.would_alarm),
            web.post("/api/cameras/{camera}/threshold", self.set_threshold),
            web.get("/api/alarms", self.alarms),
            web.post("/api/alarms/{alarm}/feedback", self.set_feedback),
            web.get("/api/events", self.events),
            web.get("/picture/{camera}.jpg", self.picture),
            web.get("/stream/{camera}.mjpeg", self.stream),
            web.get("/files/{folder}/{name}", self.file),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.health),
        ]

    async def page(self, _: web.Request) -> web.Response:
        """The page itself."""
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; "
            "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        text = PAGE.read_text(encoding="utf-8").replace("{{nonce}}", nonce)
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def cameras(self, _: web.Request) -> web.Response:
        """The state of every camera."""
        return web.json_response([_state(status) for status in self._desk.cameras()])

    async def scores(self, request: web.Request) -> web.Response:
        """Smoothed scores of the last seconds of a camera."""
        camera, seconds = self._camera(request), _number(request.query.get("seconds", "300"), 1, MOST_SECONDS)
        now = time.time()
        times, scores = await asyncio.to_thread(self._desk.scores, camera, now - seconds, now)
        step = max(1, len(times) // MOST_POINTS)
        return web.json_response({"times": times[::step].tolist(), "scores": scores[::step].tolist()})

    async def would_alarm(self, request: web.Request) -> web.Response:
        """How many alarms a threshold would have raised in the last hours."""
        camera = self._camera(request)
        value = _number(request.query.get("value", ""), -1e9, 1e9)
        hours = _number(request.query.get("hours", "24"), 0.01, MOST_SECONDS / 3600)
        found = await asyncio.to_thread(self._desk.would_alarm, camera, value, time.time() - 3600 * hours)
        return web.json_response({"alarms": found, "hours": hours})

    async def set_threshold(self, request: web.Request) -> web.Response:
        """Raise alarms from another score on; null for that of the file."""
        camera, content = self._camera(request), await _content(request, "value")
        value = None if content is None else _number(content, -1e9, 1e9)
        await asyncio.to_thread(self._desk.set_threshold, camera, value)
        return web.json_response({"threshold": self._status(camera).threshold})

    async def alarms(self, request: web.Request) -> web.Response:
        """Alarms, the newest first."""
        query = request.query
        camera = query.get("camera")
        if camera is not None:
            self._status(camera)
        since, until = (_number(query[name], 0, 1e12) if name in query else None for name in ("since", "until"))
        limit = int(_number(query.get("limit", "50"), 1, MOST_ALARMS))
        return web.json_response(await asyncio.to_thread(self._desk.alarms, camera, since, until, limit))

    async def set_feedback(self, request: web.Request) -> web.Response:
        """Whether an alarm was one; null takes it back."""
        value = await _content(request, "is_alarm")
        if value is not None and not isinstance(value, bool):
            raise BadRequest("is_alarm: expected true, false or null")
        try:
            await asyncio.to_thread(self._desk.set_feedback, request.match_info["alarm"], value)
        except InputError as error:
            raise NotFound(str(error)) from None
        return web.json_response({"is_alarm": value})

    async def picture(self, request: web.Request) -> web.Response:
        """The last analysed frame with its heat."""
        found = await asyncio.to_thread(self._desk.picture, self._camera(request))
        if found is None:
            raise NotFound("no picture yet")
        return web.Response(body=found[1], content_type="image/jpeg", headers={"X-Time": f"{found[0]:.3f}"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The analysed frames as Motion JPEG."""
        camera = self._camera(request)
        kind = {"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
        answer = web.StreamResponse(headers=kind)
        await answer.prepare(request)
        last = 0.0
        with suppress(ConnectionResetError):  # who looked has gone
            while not await self._waited(FASTEST):
                found = await asyncio.to_thread(self._desk.picture, camera)
                if found and found[0] != last:
                    last = found[0]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(found[1])}\r\n\r\n"
                    await answer.write(head.encode() + found[1] + b"\r\n")
        return answer

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Alarms, and states of cameras, as server-sent events."""
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        listener, quiet = self._desk.subscribe(), 0.0
        try:
            while not await self._waited(FASTEST):
                lines = []
                while not listener.empty():
                    kind, content = listener.get_nowait()
                    lines.append(f"event: {kind}\ndata: {json.dumps(content)}\n\n")
                quiet = 0.0 if lines else quiet + FASTEST
                if quiet >= HEARTBEAT:
                    lines, quiet = [": alive\n\n"], 0.0
                if lines:
                    await answer.write("".join(lines).encode())
        except ConnectionResetError:  # who listened has gone
            pass
        finally:
            self._desk.unsubscribe(listener)
        return answer

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A snapshot or clip."""
        try:
            path = self._desk.file(f"{request.match_info['folder']}/{request.match_info['name']}")
        except InputError as error:
            raise NotFound(str(error)) from None
        if not await asyncio.to_thread(path.is_file):
            raise NotFound("not there (yet): clips are written when their alarm is over")
        return web.FileResponse(path)

    async def metrics(self, _: web.Request) -> web.Response:
        """What Prometheus reads."""
        text = await asyncio.to_thread(self._desk.metrics)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def health(self, _: web.Request) -> web.Response:
        """Whether analysis goes on."""
        good, text = self._desk.healthy()
        return web.json_response({"healthy": good, "text": text}, status=200 if good else 503)

    def _camera(self, request: web.Request) -> str:
        return self._status(request.match_info["camera"]).name

    def _status(self, camera: str) -> CameraStatus:
        for status in self._desk.cameras():
            if status.name == camera:
                return status
        raise NotFound("no such camera")

    async def _waited(self, seconds: float) -> bool:
        """Wait; return whether the server is to end."""
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return False
        return True


class BadRequest(Exception):
    """The request asks for something that makes no sense."""


class NotFound(Exception):
    """There is no such thing."""


@web.middleware
async def _headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    answer = await handler(request)
    if not answer.prepared:
        answer.headers.update(HEADERS)
        if re.fullmatch(r"/files/.*", request.path):
            answer.headers["Cache-Control"] = "private, max-age=86400"
    return answer


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error by one line of JSON."""
    try:
        return await handler(request)
    except NotFound as error:
        return web.json_response({"error": str(error)}, status=404)
    except BadRequest as error:
        return web.json_response({"error": str(error)}, status=400)
    except web.HTTPException as error:
        if error.status in (302, 303):
            raise
        return web.json_response({"error": error.reason}, status=error.status)
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("web: %s", request.path)
        return web.json_response({"error": "failed; the log says why"}, status=500)


def _state(status: CameraStatus) -> dict[str, Any]:
    content = {name: value for name, value in vars(status).items() if name != "recent"}
    return {**content, "state": str(status.state)}


def _number(given: Any, low: float, high: float) -> float:
    try:
        value = float(given) if not isinstance(given, bool) else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not low <= value <= high:
        raise BadRequest(f"expected a number from {low:g} to {high:g}")
    return value


async def _content(request: web.Request, name: str) -> Any:
    """Return the one value of a request's JSON."""
    try:
        content = await request.json()
    except (ValueError, UnicodeDecodeError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.keys() != {name}:
        raise BadRequest(f"expected JSON with {name} and nothing else")
    return content[name]
