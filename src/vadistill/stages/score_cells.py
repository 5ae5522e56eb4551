"""Rule score_cells: a teacher of cells and the motion of a shard in, each moving cell's terms out."""

import json
import logging
import time

import numpy as np

from vadistill.datasets.splits import scene_of
from vadistill.io import object_scores
from vadistill.io.hdf5 import json_attribute, write_attributes, writing
from vadistill.io.motion import read_shards
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.teachers.cells import cell_boxes, moving_cells
from vadistill.teachers.registry import build_of_cells
from vadistill.training.checkpoint import fitting, load_model

log = logging.getLogger(__name__)


def main(args) -> None:
    """Score every moving cell of the given motion."""
    model = load_model(args.model, args.teacher)
    with fitting(args.model):
        teacher = build_of_cells(args.teacher, section(args.teacher, json.loads(model["settings"])), model["scenes"])
        teacher.load({name: values.numpy() for name, values in model["weights"].items()})
    with writing(args.output) as file:
        write_attributes(file, teacher=args.teacher, terms=teacher.terms, counted=teacher.score_terms)
        write_attributes(file, probabilities=teacher.probabilities or np.zeros(0, "S1"))
        read = {"motion": json_attribute(args.motion[0], "settings")["motion"]}
        write_attributes(file, model_settings=model["settings"], settings=canonical({**args.settings, **read}))
        write_attributes(file, detector=canonical({}))  # none was asked
        for motion in read_shards(args.motion):
            started, scene = time.monotonic(), scene_of(motion.clip, args.settings["scene"])
            frame, row, column = moving_cells(motion)
            found = (frame, cell_boxes(motion, row, column), teacher.measure(motion, scene))
            object_scores.write_clip(
                file, object_scores.ObjectScores(motion.clip, len(motion), motion.size, scene, *found)
            )
            rate = len(motion) / (time.monotonic() - started)
            log.info("clip %s: %d moving cells in %d frames, %.0f frames/s", motion.clip, len(frame), len(motion), rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "model", "output", many=("motion",))
    run(main, arguments)
