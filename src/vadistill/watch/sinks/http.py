"""HTTP as sinks use it: one request, no redirects, failures sorted into those that may be over soon and others."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

from vadistill.watch.config import masked
from vadistill.watch.sinks.base import Refused, Retry

SECONDS = 10.0  # for connecting, and for an answer
MOST_ANSWER = 65536  # bytes of an answer that are read
SOON = {408, 425, 429, 500, 502, 503, 504}  # status codes of failures that may be over soon


def request(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Send a request and return the answer's body.

    Raises:
        Retry: Nobody answers, or the answer says that it may be tried again.
        Refused: Another answer than 2xx.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        content = answer.read(MOST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise Retry(f"{masked(url)}: no answer ({type(error).__name__})") from None
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return content
    told = f"{masked(url)}: answers {answer.status} {answer.reason}"
    if answer.status in SOON:
        wait = answer.headers.get("Retry-After", "")
        raise Retry(told, float(wait) if wait.isdigit() else None)
    raise Refused(told)
