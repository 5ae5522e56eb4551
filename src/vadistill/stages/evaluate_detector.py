"""Rule evaluate_detector: scores of a frame-level detector and labels in, the auc.json of its folder out."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from vadistill.datasets.labels import labels_of_clips
from vadistill.evaluation.auc_json import DetectorResult
from vadistill.evaluation.evaluated import circumstances, evaluated, judged_alarms
from vadistill.evaluation.health import complaints_of_maps
from vadistill.evaluation.protocols import in_short
from vadistill.evaluation.results import map_maxima
from vadistill.io.files import write_json
from vadistill.io.hdf5 import json_attribute
from vadistill.io.maps import MapStore
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Compare the detector with the labels."""
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    trained, maps = json_attribute(args.scores, "model_settings"), MapStore([args.scores])
    labels = labels_of_clips(args.settings["layout"], args.settings["path"], maps.frames)
    maxima = map_maxima(maps, tuple(maps.resolutions(maps.clips()[0])))
    by_map = {f"{g}x{g}": in_short(scores, labels, sigma) for g, scores in maxima.items()}
    settings = {name: values for name, values in trained.items() if isinstance(values, Mapping)}
    raw = {clip: maps.score(clip) for clip in maps.clips()}
    result = DetectorResult(
        dataset=args.dataset,
        detector=args.detector,
        scores=replace(evaluated(raw, labels, sigma), by_resolution=by_map),
        warnings=trained.get("warnings", []) + complaints_of_maps(args.detector, maxima),
        alarms=judged_alarms(raw, labels, args.alarms),
        **circumstances(args.settings, args.scores, args.trivial, labels, sigma, settings),
    )
    for line in result.complaints():
        log.warning(line)
    write_json(args.output, result.content())


if __name__ == "__main__":
    arguments = parser(__doc__)
    for name in ("--dataset", "--detector"):
        arguments.add_argument(name, required=True)
    add_paths(arguments, "scores", "output", many=("trivial",))
    add_optional_paths(arguments, "alarms")
    run(main, arguments)
