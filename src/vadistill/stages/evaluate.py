"""Rule evaluate: scores of the student and its teachers and the labels of the test clips in, auc.json out."""

import logging
from dataclasses import replace

from vadistill.datasets.labels import labels_of_clips
from vadistill.evaluation.auc_json import Result
from vadistill.evaluation.evaluated import circumstances, evaluated, judged_alarms
from vadistill.evaluation.fusion import mean_scores
from vadistill.evaluation.health import complaints_of_maps
from vadistill.evaluation.protocols import difference, in_short
from vadistill.evaluation.results import map_maxima, read_teachers, used_settings
from vadistill.io.files import write_json
from vadistill.io.hdf5 import json_attribute
from vadistill.io.json_records import ABSENT
from vadistill.io.maps import MapStore
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Compare the student and its teachers with the labels."""
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    trained = json_attribute(args.student, "model_settings")
    resolutions = section("maps", trained["maps"]).resolutions
    student = MapStore([args.student])
    labels = labels_of_clips(args.settings["layout"], args.settings["path"], student.frames)
    maxima = map_maxima(student, resolutions)
    raw = {clip: student.score(clip) for clip in student.clips()}
    by_map = {f"{g}x{g}": in_short(scores, labels, sigma) for g, scores in maxima.items()}
    teachers, warnings = {}, trained.get("warnings", []) + complaints_of_maps("student", maxima)
    found = read_teachers(args.scores, args.maps, args.calibrations)
    for name, teacher in found.items():
        by_resolution = map_maxima(teacher.maps, resolutions)
        of_maps = in_short(mean_scores(by_resolution.values()), labels, sigma)
        teachers[name] = replace(evaluated(teacher.scores, labels, sigma), maps=of_maps)
        warnings += complaints_of_maps(name, by_resolution)
    mean = mean_scores(teacher.scores for teacher in found.values())
    settings, detector = used_settings(args.student, args.scores, args.calibrations[0])
    result = Result(
        dataset=args.dataset,
        student=replace(evaluated(raw, labels, sigma), by_resolution=by_map),
        teachers=teachers,
        teachers_mean=evaluated(mean, labels, sigma),
        student_minus_teachers_mean=ABSENT if labels is None else difference(raw, mean, labels, sigma),
        warnings=warnings,
        alarms=judged_alarms(raw, labels, args.alarms),
        **circumstances(args.settings, args.student, args.trivial, labels, sigma, settings, detector),
    )
    for line in result.complaints():
        log.warning(line)
    write_json(args.output, result.content())


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--dataset", required=True)
    add_paths(arguments, "student", "output", many=("scores", "maps", "calibrations", "trivial"))
    add_optional_paths(arguments, "alarms")
    run(main, arguments)
