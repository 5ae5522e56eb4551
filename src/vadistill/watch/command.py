"""``vadistill watch``: from start to signal."""

import logging
import signal
import threading
from pathlib import Path

from vadistill.errors import InputError
from vadistill.io.files import write_json
from vadistill.watch.app import THRESHOLDS, Watch, owned, read_thresholds
from vadistill.watch.config import read_config
from vadistill.watch.refit import content_of, fit_camera
from vadistill.watch.store import Store
from vadistill.watch.web import WebServer

log = logging.getLogger(__name__)


def check_file(path: Path) -> None:
    """Say whether a file of cameras is good.

    Raises:
        InputError: It is not; the line names the key.
    """
    config = read_config(path)
    print(f"{path}: {len(config.cameras)} cameras, {len(config.sinks)} sinks; all keys are good")


def fit(path: Path) -> None:
    """Find the thresholds of all cameras anew, and keep them for the next start.

    Raises:
        InputError: The file or the storage is bad.
    """
    config = read_config(path)
    store, kept = Store(config.storage.path), config.storage.path / THRESHOLDS
    owner = owned(config.storage.path)  # a watch would write its own thresholds over these
    rules, errors = read_thresholds(kept), []
    for name in config.cameras:
        try:
            found = fit_camera(config, name, store)
        except InputError as error:
            errors.append(str(error))
            continue
        rules[name] = found.rule
        note = f"; {found.threshold.note}" if found.threshold.note else ""
        print(
            f"camera {name}: threshold {found.rule.threshold:.4g} for {found.threshold.false_alarms_per_day:g} false "
            f"alarms a day, from {found.hours:.3g} hours ({found.threshold.method}){note}"
        )
    write_json(kept, content_of(rules))
    store.close()
    owner.close()
    if errors:
        raise InputError("; ".join(errors))


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
