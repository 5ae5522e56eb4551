"""HTTP as sinks use it: one request, no redirects, failures sorted into those that may be over soon and others."""

import base64
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote, urlsplit

from vadistill.watch.sinks.base import Refused, Retry, reason

SECONDS = 10.0  # for connecting, and for all of an answer
MOST_ANSWER = 65536  # bytes of an answer that are read
SOON = {408, 425, 429}  # status codes, besides 5xx, of failures that may be over soon


def request(
    method: str, url: str, body: bytes, headers: Mapping[str, str], shown: str, repeatable: bool = True
) -> bytes:
    """Send a request and return the answer's body.

    Args:
        method: Such as POST.
        url: Where to; user and password in it are sent as basic authentication.
        body: What.
        headers: Besides those of HTTP itself.
        shown: The address in words that hold no secret.
        repeatable: Whether it does no harm to send again what may have arrived.

    Raises:
        Retry: Nobody answers, or the answer says that it may be tried again.
        Refused: Another answer than 2xx, or none to what must not be sent twice.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme.lower() == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{parts.query}" if parts.query else "")
    begun, late = False, threading.Event()
    try:
        connection.connect()
        begun = True
        with _limit(connection.sock, late):
            connection.request(method, path, body, {**_credentials(url), **headers})
            answer = connection.getresponse()
            content = answer.read(MOST_ANSWER)
        if late.is_set():  # what was cut off reads like a short answer
            raise TimeoutError
    except (OSError, http.client.HTTPException) as error:
        slow = isinstance(error, TimeoutError) or late.is_set()
        told = f"{shown}: no answer ({f'within {SECONDS:g} seconds' if slow else reason(error)})"
        if begun and not repeatable:
            raise Refused(f"{told}; it may have been taken and is not sent twice") from None
        raise Retry(told) from None
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return content
    told = f"{shown}: answers {answer.status} {answer.reason}"
    if answer.status >= 500 or answer.status in SOON:
        raise Retry(told, _asked(answer.headers.get("Retry-After", "")))
    raise Refused(told, answer.status)


def _credentials(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@contextmanager
def _limit(connected: socket.socket, late: threading.Event) -> Iterator[None]:
    """End a connection in time: the time-out of a socket begins anew with every byte, this one is for all of them."""

    def cut() -> None:
        late.set()
        with suppress(OSError):  # it is over
            socket.socket.shutdown(connected, socket.SHUT_RDWR)  # of TLS, too: without its farewell

    timer = threading.Timer(SECONDS, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _asked(text: str) -> float | None:
    """Return the seconds of a ``Retry-After``, which are given as such or as a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
