"""Who may use the page: a token, names of this machine, and requests of this page alone."""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from vadistill.watch.config import WebConfig
from vadistill.watch.web_answers import Handler, body

COOKIE = "vadistill"
LOGIN = Path(__file__).with_name("login.html")
FREE = ("/healthz", "/login")
MOST_TRIES, MINUTE = 10, 60.0  # wrong tokens a minute, of one address
MOST_ADDRESSES = 1000  # whose wrong tokens are remembered


class Access:
    """Checks every request.

    Args:
        config: Address and token.
    """

    def __init__(self, config: WebConfig) -> None:
        self._address = config.address
        self._token = _bytes(config.token.get_secret_value()) if config.token else None
        # The cookie says nothing of the token, and those of an earlier run count no longer.
        self._cookie = hmac.new(secrets.token_bytes(32), self._token or b"", hashlib.sha256).hexdigest()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._form = LOGIN.read_text(encoding="utf-8")

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass a request on, or refuse it."""
        if not self._names_this_machine(request.host):
            raise web.HTTPMisdirectedRequest(reason="expected localhost, 127.0.0.1 or [::1] in the address")
        if request.method not in ("GET", "HEAD") and not _is_of_this_page(request):
            raise web.HTTPForbidden(reason="a request of another page")
        if self._token is None or request.path in FREE or self._is_known(request):
            return await handler(request)
        if request.path == "/" and request.method == "GET":
            raise web.HTTPSeeOther("/login")
        raise web.HTTPUnauthorized(reason="expected the token", headers={"WWW-Authenticate": "Bearer"})

    def routes(self) -> list[web.RouteDef]:
        """Return the routes by which one shows the token."""
        return [web.get("/login", self._ask), web.post("/login", self._enter)]

    async def _ask(self, _: web.Request) -> web.Response:
        return self._page()

    async def _enter(self, request: web.Request) -> web.Response:
        given = parse_qs((await body(request)).decode("utf-8", "replace")).get("token", [""])[0]
        try:
            same = self._is_token(request, given.strip())
        except web.HTTPTooManyRequests as error:
            return self._page(error.reason + ".", error.status)
        if not same:
            return self._page("That is not the token.", 401)
        entered = web.HTTPSeeOther("/")
        entered.set_cookie(COOKIE, self._cookie, httponly=True, samesite="Strict", secure=request.secure)
        raise entered

    def _page(self, told: str = "", status: int = 200) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'"
        )
        text = self._form.replace("{{nonce}}", nonce).replace("{{told}}", told)
        headers = {"Content-Security-Policy": policy}
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)

    def _is_known(self, request: web.Request) -> bool:
        if hmac.compare_digest(_bytes(request.cookies.get(COOKIE, "")), self._cookie.encode()):
            return True
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._is_token(request, given.strip())

    def _is_token(self, request: web.Request, given: str) -> bool:
        """Compare a token in constant time.

        Raises:
            HTTPTooManyRequests: Too many wrong ones came from this address in the last minute.
        """
        address, now = request.remote or "", time.monotonic()
        failures = self._failures.get(address, deque(maxlen=MOST_TRIES))
        if len(failures) == MOST_TRIES and now - failures[0] < MINUTE:
            raise web.HTTPTooManyRequests(
                reason="Too many wrong tokens; try again in a minute", headers={"Retry-After": f"{MINUTE:.0f}"}
            )
        same = self._token is not None and hmac.compare_digest(_bytes(given), self._token)
        if not same:
            failures.append(now)
            self._failures[address] = failures
            self._failures.move_to_end(address)
            while len(self._failures) > MOST_ADDRESSES:
                self._failures.popitem(last=False)
        return same

    def _names_this_machine(self, host: str) -> bool:
        """Return whether an address names this machine: other names may be a stranger's that points here.

        A stranger's page has no token; so where one is asked for, a proxy may give the page any name.
        """
        if self._token is not None:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in ("localhost", self._address) or _is_loopback(name)


def _is_of_this_page(request: web.Request) -> bool:
    """Return whether a request comes from this page, or from no page: a program needs no protection."""
    if site := request.headers.get("Sec-Fetch-Site"):  # browsers send it where they trust the address
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
