"""Rule compare_backends: the student, training and test frames in, a table of what every backend says of them out."""

import logging
import tempfile
from pathlib import Path

import pandas as pd

from vadistill.datasets.labels import labels_of_clips
from vadistill.errors import InputError
from vadistill.evaluation.protocols import columns
from vadistill.inference.backends import BACKENDS, BASELINE, load_backend
from vadistill.inference.compare_backends import compare_backends
from vadistill.inference.export import loadable, windows_for
from vadistill.io.files import whole_file
from vadistill.io.frames import FrameStore
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Score the test frames in every backend that can be had here; int8 finds its ranges on training frames."""
    settings = args.settings
    sigma = section("evaluation", settings["evaluation"]).smoothing_sigma
    stores = [FrameStore(path) for path in args.frames]
    labels = labels_of_clips(settings["layout"], settings["path"], {store.clip: len(store) for store in stores})
    calibration = windows_for(args.model, args.calibration)
    backends = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys((BASELINE, *args.backends)):
            try:
                backends[name] = load_backend(name, loadable(name, args.model, Path(folder), calibration))
            except InputError as error:
                if name == BASELINE:
                    raise
                log.warning("%s is left out: %s", name, error)
        table = pd.DataFrame(compare_backends(backends, BASELINE, args.frames, labels, sigma))
    if labels is not None:
        table = table.assign(**columns(labels, sigma))
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    for line in table.to_string(index=False).splitlines():
        log.info("%s", line)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--backends", nargs="+", default=list(BACKENDS), help="compared with the baseline")
    add_paths(arguments, "model", "output", many=("calibration", "frames"))
    run(main, arguments)
