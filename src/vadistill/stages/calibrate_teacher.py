"""Rule calibrate_teacher: object scores of the training clips in, the affine map to map values out."""

import logging
from dataclasses import asdict

import numpy as np

from vadistill.calibration import fit_affine
from vadistill.data.object_scores import read_shards
from vadistill.data.store import attribute
from vadistill.errors import InputError
from vadistill.files import write_json
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Fit the calibration of one teacher."""
    scores = np.concatenate([clip.score for clip in read_shards(args.scores)])
    if not len(scores):
        raise InputError(f"{args.scores[0]}: no object in any training clip, so there is nothing to calibrate on")
    affine = fit_affine(scores, section("calibration", args.settings["calibration"]))
    percentiles = {str(p): float(np.percentile(scores, p)) for p in (0, 0.5, 5, 50, 95, 99.5, 100)}
    teacher = str(attribute(args.scores[0], "teacher"))
    write_json(
        args.output,
        {
            "teacher": teacher,
            "settings": args.settings["calibration"],
            **asdict(affine),
            "objects": len(scores),
            "training_percentiles": percentiles,
        },
    )
    log.info("%d training objects: map value = %.4g * score %+.4g", len(scores), affine.slope, affine.intercept)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("scores",))
    run(main, arguments)
