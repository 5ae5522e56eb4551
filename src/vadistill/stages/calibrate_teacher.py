"""Rule calibrate_teacher: terms of the training objects in, calibration.json (from terms to map values) out."""

import logging
from pathlib import Path

import numpy as np

from vadistill.datasets.splits import first_held_out
from vadistill.errors import InputError
from vadistill.io.hdf5 import attribute
from vadistill.io.object_scores import ObjectScores, columns_of, read_shards, term_names
from vadistill.maps import calibration
from vadistill.maps.calibration_file import write_calibration
from vadistill.maps.percentiles import FEW, steady
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def used_objects(paths: list[Path], part: dict[str, float]) -> list[tuple[ObjectScores, np.ndarray]]:
    """Return each clip with objects, and the rows (n,) of those in its part that calibration uses.

    Raises:
        InputError: There is no object.
    """
    clips = [(clip, np.flatnonzero(clip.frame >= first_held_out(part[clip.clip], clip.frames)))
             for clip in read_shards(paths) if clip.clip in part]  # fmt: skip
    clips = [(clip, rows) for clip, rows in clips if len(rows)]
    if not clips:
        raise InputError(f"{paths[0]}: no object in the {len(part)} training clips to calibrate on ({min(part)}, ...); "
                         "lower objects.confidence, or set calibration.clips to all")  # fmt: skip
    return clips


def main(args) -> None:
    """Fit the calibration of one teacher: of the terms that count, and of each term alone for tables."""
    settings = section("calibration", args.settings["calibration"])
    used = used_objects(args.scores, args.settings["fitted_on"])
    terms = np.concatenate([clip.terms[rows] for clip, rows in used])
    row = np.concatenate([clip.row[rows] for clip, rows in used])
    scenes = sorted({clip.scene for clip, _ in used})
    scene = np.concatenate([np.full(len(rows), scenes.index(clip.scene)) for clip, rows in used])
    teacher = str(attribute(args.scores[0], "teacher"))
    chosen = [name.partition(".")[2] for name in settings.terms if name.partition(".")[0] == teacher]
    counted = chosen or term_names(args.scores[0], "counted")
    probabilities = term_names(args.scores[0], "probabilities")

    def fitted(names: list[str]) -> dict:
        columns = columns_of(args.scores[0], names)
        return calibration.fit(names, probabilities, terms[:, columns], scene, row, scenes, settings).to_json()

    wished = (settings.low_percentile, settings.high_percentile, calibration.SQUASH_PERCENTILE)
    taken = [round(steady(percentile, len(terms)), 3) for percentile in wished]
    log.info("%s: percentiles %s of %d objects", teacher, ", ".join(f"{p:g}" for p in taken), len(terms))
    if len(terms) < FEW:
        log.warning("%s: %d objects to calibrate on, expected %d or more: their tail is uncertain; give more clips, a "
                    "larger held_out.share, or calibration.clips: all", teacher, len(terms), FEW)  # fmt: skip
    write_calibration(
        args.output,
        {
            "teacher": teacher,
            "settings": args.settings["calibration"],
            "score": fitted(counted),
            "single": {name: fitted([name]) for name in term_names(args.scores[0])},
            "objects": len(terms),
            "percentiles": taken,
            "clips": sorted(clip.clip for clip, _ in used),
        },
    )
    log.info("%s: %d objects of %d clips, terms %s", teacher, len(terms), len(used), ", ".join(counted))


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("scores",))
    run(main, arguments)
