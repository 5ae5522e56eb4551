"""Rule build_maps: terms of a shard's objects and the teacher's calibration in, max-pooled anomaly maps out."""

import logging
import time

from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io import maps
from vadistill.io.hdf5 import attribute, write_attributes, writing
from vadistill.io.object_scores import columns_of, read_shards
from vadistill.maps.calibration import Calibrator, map_values
from vadistill.maps.calibration_file import read_calibration
from vadistill.maps.rasterize import map_pyramid
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Rasterise the object scores of every clip at every resolution."""
    resolutions = section("maps", args.settings["maps"]).resolutions
    calibration = read_calibration(args.calibration)
    calibrator = Calibrator.from_json(calibration["score"])
    columns = columns_of(args.scores[0], calibrator.terms)
    started, boxes = time.monotonic(), 0
    with writing(args.output) as file:
        write_attributes(file, teacher=calibration["teacher"], settings=canonical(args.settings))
        fitted = {key: calibration["score"][key] for key in ("terms", "squash", "affine")}
        write_attributes(file, calibration=canonical({"settings": calibration["settings"], **fitted}))
        for name in ("settings", "model_settings", "detector"):
            key = f"object_{name}" if name == "settings" else name
            write_attributes(file, **{key: attribute(args.scores[0], name)})
        for clip in read_shards(args.scores):
            if not calibrator.knows(clip.scene):
                log.warning("clip %s: no training object of scene %s to calibrate on; the table of all is used",
                            clip.clip, clip.scene)  # fmt: skip
            values = map_values(calibrator(clip.terms[:, columns], clip.scene, clip.row))
            made = map_pyramid(ScoredObjects(clip.frames, clip.size, clip.frame, clip.box, values), resolutions)
            maps.write_clip(file, clip.clip, made, height=clip.size[0], width=clip.size[1], objects=len(values))
            boxes += len(values)
    log.info("%s: %d boxes, %.0f boxes/s", args.output.name, boxes, boxes / (time.monotonic() - started))


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "calibration", "output", many=("scores",))
    run(main, arguments)
