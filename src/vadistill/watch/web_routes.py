"""What each address of the page answers."""

import asyncio
import secrets
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from vadistill.errors import InputError
from vadistill.watch.alarm import CameraStatus
from vadistill.watch.web_answers import BadRequest, NotFound, answer, json_value, number
from vadistill.watch.web_desk import Desk
from vadistill.watch.web_streams import Streams

PAGE, STYLE = Path(__file__).with_name("page.html"), Path(__file__).with_name("page.css")
SCRIPTS = [Path(__file__).with_name(name) for name in ("page_curves.js", "page.js")]
MOST_ALARMS, MOST_SECONDS, MOST_POINTS = 500, 86400.0, 2000
MOST_SCORE, MOST_TIME = 1e9, 1e12
FILES = {".jpg": "image/jpeg", ".mp4": "video/mp4"}
SHOWN = [field.name for field in fields(CameraStatus) if field.name != "recent"]


class Routes:
    """Answers by a desk.

    Args:
        desk: Knows the answers.
        over: The server is to end.
    """

    def __init__(self, desk: Desk, over: asyncio.Event) -> None:
        self._desk, self._streams = desk, Streams(desk, over)
        self._page = _in_one()

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
            web.get("/api/events", self._streams.events, allow_head=False),
            web.get("/picture/{camera}.jpg", self.picture),
            web.get("/stream/{camera}.mjpeg", self.stream, allow_head=False),
            web.get("/files/{path:.*}", self.file),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.health),
        ]

    async def page(self, _: web.Request) -> web.Response:
        """The page itself; nothing but its own style and script counts in it."""
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; "
            "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'"
        )
        text = self._page.replace("{{nonce}}", nonce)
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def cameras(self, _: web.Request) -> web.Response:
        """The state of every camera, and the server's time."""
        now = time.time()
        return answer([{**_state(status), "now": now} for status in self._desk.cameras()])

    async def scores(self, request: web.Request) -> web.Response:
        """Smoothed scores of the last seconds of a camera; where they are many, the highest of neighbours."""
        camera = self._camera(request).name
        seconds = number("seconds", request.query.get("seconds", "300"), 1, MOST_SECONDS)
        now = time.time()
        times, scores = _thinned(*await asyncio.to_thread(self._desk.scores, camera, now - seconds, now))
        return answer({"times": times.tolist(), "scores": scores.tolist(), "now": now})

    async def would_alarm(self, request: web.Request) -> web.Response:
        """How many alarms a threshold would have raised in the last hours."""
        camera = self._camera(request).name
        value = number("value", request.query.get("value"), -MOST_SCORE, MOST_SCORE)
        hours = number("hours", request.query.get("hours", "24"), 0.01, MOST_SECONDS / 3600)
        found = await asyncio.to_thread(self._desk.would_alarm, camera, value, time.time() - 3600 * hours)
        return answer({"value": value, "alarms": found, "hours": hours})

    async def set_threshold(self, request: web.Request) -> web.Response:
        """Raise alarms from another score on; null for that of the file or the detector."""
        camera, value = self._camera(request).name, await json_value(request, "value")
        value = None if value is None else number("value", value, -MOST_SCORE, MOST_SCORE)
        await asyncio.to_thread(self._desk.set_threshold, camera, value)
        return answer({"threshold": self._camera(request).threshold})

    async def alarms(self, request: web.Request) -> web.Response:
        """Alarms, the newest first."""
        query = request.query
        camera = self._status(query["camera"]).name if "camera" in query else None
        since, until = (
            number(name, query[name], 0, MOST_TIME) if name in query else None for name in ("since", "until")
        )
        limit = int(number("limit", query.get("limit", "50"), 1, MOST_ALARMS))
        return answer(await asyncio.to_thread(self._desk.alarms, camera, since, until, limit))

    async def set_feedback(self, request: web.Request) -> web.Response:
        """Whether an alarm was one; null takes it back."""
        value = await json_value(request, "is_alarm")
        if value is not None and not isinstance(value, bool):
            raise BadRequest("is_alarm: expected true, false or null")
        try:
            await asyncio.to_thread(self._desk.set_feedback, request.match_info["alarm"], value)
        except (InputError, UnicodeError) as error:
            raise NotFound(str(error) if isinstance(error, InputError) else "no such alarm") from None
        return answer({"is_alarm": value})

    async def picture(self, request: web.Request) -> web.Response:
        """The last analysed frame with its heat."""
        found = await asyncio.to_thread(self._desk.picture, self._camera(request).name)
        if found is None:
            raise NotFound("no picture yet")
        return web.Response(body=found[1], content_type="image/jpeg", headers={"X-Time": f"{found[0]:.3f}"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The analysed frames as Motion JPEG."""
        return await self._streams.pictures(request, self._camera(request).name)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A snapshot or clip, or the range of it that is asked for."""
        try:
            path = self._desk.file(request.match_info["path"])
            is_there = path.suffix in FILES and await asyncio.to_thread(path.is_file)
        except InputError as error:
            raise NotFound(str(error)) from None
        except (OSError, ValueError):  # a name that no file can have
            is_there = False
        if not is_there:
            raise NotFound("not there: clips are written behind their alarm, and removed when they are old")
        kept = {"Content-Type": FILES[path.suffix], "Cache-Control": "private, max-age=86400"}
        return web.FileResponse(path, headers=kept)

    async def metrics(self, _: web.Request) -> web.Response:
        """What Prometheus reads."""
        text = await asyncio.to_thread(self._desk.metrics)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def health(self, _: web.Request) -> web.Response:
        """Whether analysis goes on, and what is wrong."""
        good, text = self._desk.healthy()
        return answer({"healthy": good, "text": text}, 200 if good else 503)

    def _camera(self, request: web.Request) -> CameraStatus:
        return self._status(request.match_info["camera"])

    def _status(self, camera: str) -> CameraStatus:
        for status in self._desk.cameras():
            if status.name == camera:
                return status
        raise NotFound("no such camera")


def _in_one() -> str:
    """Return the page with its style and its scripts inside."""
    script = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    page, style = PAGE.read_text(encoding="utf-8"), STYLE.read_text(encoding="utf-8")
    return page.replace("{{style}}", style).replace("{{script}}", script)


def _state(status: CameraStatus) -> dict[str, Any]:
    return {**{name: getattr(status, name) for name in SHOWN}, "state": str(status.state)}


def _thinned(times: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most ``MOST_POINTS`` of some scores (T,) with their times (T,): of neighbours, the highest one."""
    step = -(-len(times) // MOST_POINTS)
    if step <= 1:
        return times, scores
    starts = np.arange(0, len(times), step)
    return times[starts], np.maximum.reduceat(scores, starts)
