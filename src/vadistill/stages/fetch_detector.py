"""Rule fetch_detector: an official name in, its detector weights out, by ultralytics' own downloader."""

import logging
import os

from vadistill.detector import quiet_ultralytics
from vadistill.errors import InputError
from vadistill.files import whole_file
from vadistill.settings import OFFICIAL_WEIGHTS
from vadistill.stages._run import add_paths, parser, run


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
        except Exception as error:  # the downloader raises what its network libraries raise
            raise InputError(
                f"{args.output}: could not be downloaded; put the official {name} there yourself"
            ) from error
        finally:
            if folder.is_dir():
                for part in folder.iterdir():
                    part.unlink()
                folder.rmdir()


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output")
    run(main, arguments)
