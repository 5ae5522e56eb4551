"""``vadistill watch``: from start to signal."""

import logging
import signal
import threading
from pathlib import Path

from vadistill.watch.app import Watch
from vadistill.watch.config import read_config
from vadistill.watch.web import WebServer

log = logging.getLogger(__name__)


def check_file(path: Path) -> None:
    """Say whether a file of cameras is good.

    Raises:
        InputError: It is not; the line names the key.
    """
    config = read_config(path)
    print(f"{path}: {len(config.cameras)} cameras, {len(config.sinks)} sinks; all keys are good")


def run(path: Path) -> None:
    """Watch until a signal comes, or all files are over.

    Raises:
        InputError: The file, a detector, the storage or the page's address is bad.
    """
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    watch = Watch(path)
    page = WebServer(watch.config.web, watch)
    try:
        watch.start()
        page.listen()
        log.info("the page is at http://%s:%d", watch.config.web.address, page.port)
        watch.run(over)
    finally:
        page.stop()
        watch.stop()
