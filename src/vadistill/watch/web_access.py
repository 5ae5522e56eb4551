"""Who may use the page: names of the host, a token, and requests of this page alone."""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from vadistill.watch.config import WebConfig

COOKIE = "vadistill"
LOCAL = {"localhost", "127.0.0.1", "::1"}
MOST_TRIES, MINUTE = 10, 60.0  # failed tokens a minute, of all who try
FREE = ("/healthz", "/login")


class Access:
    """Checks every request.

    Args:
        config: Address and token.

    Attributes:
        port: The server's.
    """

    def __init__(self, config: WebConfig) -> None:
        self.port = config.port
        self._address = config.address
        self._token = config.token.get_secret_value() if config.token else None
        self._key = secrets.token_bytes(32)  # cookies of an earlier run count no longer
        self._failures: deque[float] = deque(maxlen=MOST_TRIES)
        self._login = ""

    @web.middleware
    async def check(self, request: web.Request, handler) -> web.StreamResponse:
        """Pass a request on, or refuse it."""
        if not self._host_is_ours(request.host):
            raise web.HTTPMisdirectedRequest(reason="expected this machine's name in the address")
        if request.method not in ("GET", "HEAD") and not self._is_of_this_page(request):
            raise web.HTTPForbidden(reason="a request of another page")
        if self._token is None or request.path in FREE or self._knows_token(request):
            return await handler(request)
        if request.path == "/" and request.method == "GET":
            raise web.HTTPSeeOther("/login")
        raise web.HTTPUnauthorized(reason="expected the token", headers={"WWW-Authenticate": "Bearer"})

    def routes(self, login: Path) -> list[web.RouteDef]:
        """Return the routes by which one shows the token."""
        self._login = login.read_text(encoding="utf-8")
        return [web.get("/login", self._form), web.post("/login", self._enter)]

    async def _form(self, _: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; frame-ancestors 'none'"
        text = self._login.replace("{{nonce}}", nonce)
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _enter(self, request: web.Request) -> web.Response:
        given = (await request.post()).get("token")
        if not self._is_token(given if isinstance(given, str) else ""):
            raise web.HTTPUnauthorized(reason="another token")
        answer = web.HTTPSeeOther("/")
        answer.set_cookie(COOKIE, self._cookie(), httponly=True, samesite="Strict", secure=request.secure)
        return answer

    def _knows_token(self, request: web.Request) -> bool:
        if hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self._cookie().encode()):
            return True
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._is_token(given.strip())

    def _is_token(self, given: str) -> bool:
        """Compare a token in constant time; too many wrong ones hold up everybody for a minute."""
        now = time.monotonic()
        if len(self._failures) == MOST_TRIES and now - self._failures[0] < MINUTE:
            raise web.HTTPTooManyRequests(reason="too many wrong tokens; try again in a minute")
        same = self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())
        if not same:
            self._failures.append(now)
        return same

    def _cookie(self) -> str:
        return hmac.new(self._key, (self._token or "").encode(), hashlib.sha256).hexdigest()

    def _host_is_ours(self, host: str) -> bool:
        """Return whether the address names this machine: other names may be a stranger's that points here."""
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        if self._address not in LOCAL:  # a token is asked for, which no stranger's page has
            return True
        return name in LOCAL or _is_loopback(name)

    def _is_of_this_page(self, request: web.Request) -> bool:
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site is not None and site not in ("same-origin", "none"):
            return False
        return origin is None or urlsplit(origin).netloc == request.host


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
