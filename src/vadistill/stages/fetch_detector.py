"""Rule fetch_detector: an official name in, its detector weights out, by ultralytics' own downloader.

No hash of theirs is pinned here. That of the first download is recorded beside the file, and anything else under its
name is refused later.
"""

import logging
import os
from pathlib import Path

from vadistill.detection.yolo import check_recorded, hash_file
from vadistill.errors import InputError
from vadistill.io.files import sha256, whole_file
from vadistill.quiet import quiet_ultralytics
from vadistill.settings import OFFICIAL_WEIGHTS
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Download the weights, or say in one line which file belongs where."""
    name = args.output.name
    if name not in OFFICIAL_WEIGHTS:
        raise InputError(f"{args.output}: no such detector weights and no official name; put the file there yourself")
    os.environ["YOLO_OFFLINE"] = "false"
    quiet_ultralytics()
    from ultralytics.utils import LOGGER
    from ultralytics.utils.downloads import attempt_download_asset

    LOGGER.setLevel(logging.ERROR)
    with whole_file(args.output) as temporary:
        folder = temporary.parent / f"{temporary.name}.d"
        try:
            attempt_download_asset(str(folder / name))
            os.replace(folder / name, temporary)
            _record(args.output, sha256(temporary))
        except InputError:
            raise
        except Exception as error:  # the downloader raises what its network libraries raise
            raise InputError(
                f"{args.output}: could not be downloaded; put the official {name} there yourself"
            ) from error
        finally:
            if folder.is_dir():
                for part in folder.iterdir():
                    part.unlink()
                folder.rmdir()


def _record(weights: Path, found: str) -> None:
    """Write the hash of weights beside them, or compare it with that of an earlier download."""
    record = hash_file(weights)
    if record.is_file():
        check_recorded(weights, found)
    with whole_file(record) as temporary:
        temporary.write_text(f"{found}  {weights.name}\n", encoding="utf-8")
    log.info("%s: SHA-256 %s, recorded in %s", weights, found, record.name)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output")
    run(main, arguments)
