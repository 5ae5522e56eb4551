"""What goes in and out at the page's addresses: numbers, JSON, and errors in one line of it."""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from aiohttp import web

from vadistill.errors import InputError, printable

log = logging.getLogger(__name__)
SLOWEST_BODY = 10.0  # seconds in which a request's body must come
HEADERS = {
    "Server": "vadistill",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: forms would then come from the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadRequest(Exception):
    """The request asks for something that makes no sense."""


class NotFound(Exception):
    """There is no such thing."""


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer has; called before the head of any answer is sent."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error by one line of JSON."""
    try:
        return await handler(request)
    except NotFound as error:
        return answer({"error": str(error)}, 404)
    except (BadRequest, InputError) as error:
        return answer({"error": str(error)}, 400)
    except web.HTTPException as error:
        if error.status in (302, 303):
            raise
        kept = {name: value for name, value in error.headers.items() if not name.startswith("Content-")}
        return answer({"error": error.reason}, error.status, kept)
    except ConnectionError:  # the client has gone
        raise
    except Exception:
        log.exception("web: %s", printable(request.path))
        return answer({"error": "failed; the log says why"}, 500)


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return JSON."""
    return web.json_response(text=as_json(content) + "\n", status=status, headers=headers)


def as_json(content: Any) -> str:
    """Return JSON in one line; numbers that are not finite, which browsers do not read, become null."""
    try:
        return json.dumps(content, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_finite(content), allow_nan=False)


def _plain(value: Any) -> Any:
    """Return the number of Python that a number of numpy stands for."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content


def number(name: str, given: Any, low: float, high: float) -> float:
    """Return a number that was given as text or JSON.

    Raises:
        BadRequest: It is none, or not within the limits.
    """
    try:
        value = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not low <= value <= high:
        raise BadRequest(f"{name}: expected a number from {low:g} to {high:g}")
    return value


async def body(request: web.Request) -> bytes:
    """Return a request's body.

    Raises:
        BadRequest: It does not come in time, or is not encoded as its head says.
    """
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            return await request.read()
    except TimeoutError:
        raise BadRequest("the request did not come in time") from None
    except web.HTTPException:  # it is too long
        raise
    except (web.RequestPayloadError, web.PayloadAccessError):
        raise BadRequest("the request breaks off") from None


async def json_value(request: web.Request, name: str) -> Any:
    """Return the one value of a request's JSON.

    Raises:
        BadRequest: It is no JSON object with this key alone.
    """
    try:
        content = json.loads(await body(request))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.keys() != {name}:
        raise BadRequest(f"expected JSON with {name} and nothing else")
    return content[name]
