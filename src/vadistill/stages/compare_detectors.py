"""Rule compare_detectors: scores of all frame-level detectors, of teachers, and labels in; a table and a page out."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from vadistill.benchmark.costs import cost_of
from vadistill.datasets.labels import labels_of_clips
from vadistill.errors import InputError
from vadistill.evaluation.comparison import compared
from vadistill.evaluation.fusion import mean_ranks, mean_scores
from vadistill.evaluation.localisation_json import DetectorRegions, LocalisationResult
from vadistill.evaluation.metrics import smooth
from vadistill.evaluation.results import highest, objects_by_teacher
from vadistill.frame_level.base import FrameLevelDetector, NetworkDetector
from vadistill.frame_level.registry import read_detector
from vadistill.io import frame_scores
from vadistill.io.files import whole_file
from vadistill.io.maps import MapStore
from vadistill.report.comparison import Effort, curve_pictures, page, table, training_pictures
from vadistill.report.page import write_page
from vadistill.report.run_files import read_seconds, read_trainings
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)


def effort(model: Path, benchmarks: Path) -> tuple[str, Effort]:
    """Return a detector's name and what it takes."""
    detector, weights = read_detector(model)
    if isinstance(detector, NetworkDetector):
        cost = cost_of(detector)
        parameters, products = cost.parameters, cost.products
    else:
        parameters, products = sum(value.numel() for value in weights.values()), None
    training = [read_seconds(benchmarks / rule) for rule in rules_of(detector)]
    known = [seconds for seconds in training if seconds is not None]
    scoring = read_seconds(benchmarks / "score_frames" / detector.name / "test")
    # A variant takes what it shares from another data set, whose folder has the times.
    return detector.name, Effort(parameters, products, sum(known) if len(known) == len(training) else None, scoring)


def rules_of(detector: FrameLevelDetector) -> list[str]:
    """Return where the times of the rules lie that train a detector alone."""
    if detector.name == "student":
        parts = {"pretrain_student": "pretraining", "measure_usual": "surprise"}
        return ["distill_student", *(rule for rule, part in parts.items() if part in detector.settings)]
    if detector.name == "flow_cells":
        return ["train_cells", "pack_cells"]
    return [f"{rule}/{detector.name}" for rule in ("train_detector", "fit_score")]


def located(detectors: Iterable[str], paths: Sequence[Path]) -> dict[tuple[str, str], DetectorRegions]:
    """Return whether anomalies are found in place, by group and name, of the localisation.json of some detectors."""
    made = {}
    for detector, path in zip(detectors, paths, strict=False):  # there are no files where this is not known
        found = LocalisationResult.read(path).detectors
        for name, part in found.items():
            group = "detector" if name == detector else "teacher"
            made[group, "mean" if name == "teachers_mean" else name] = part
    return made


def main(args) -> None:
    """Compare the detectors of one data set."""
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    efforts = dict(effort(model, args.output.parent / "benchmarks") for model in args.models)
    stores = dict(zip(efforts, map(MapStore, [[path] for path in args.scores]), strict=True))
    first = next(iter(stores.values()))
    labels = labels_of_clips(args.settings["layout"], args.settings["path"], first.frames)
    if labels is None:
        raise InputError(
            f"{args.settings['path']} has no labels for its test clips; expected them to compare detectors"
        )
    detectors = {name: {clip: store.score(clip) for clip in store.clips()} for name, store in stores.items()}
    teachers = {name: highest(objects) for name, objects in objects_by_teacher(args.objects, args.calibrations).items()}
    others = {("teacher", name): scores for name, scores in teachers.items()}
    others["teacher", "mean"] = mean_scores(teachers.values())
    others |= {("trivial", name): scores for name, scores in frame_scores.read_shards(args.trivial).items()}
    frames = sum(first.frames.values())
    rows = compared(detectors, others, labels, sigma, located(efforts, args.localisations))
    with whole_file(args.table) as temporary:
        table(rows, efforts, frames).to_csv(temporary, index=False, float_format="%.5f")
    ranks = {name: mean_ranks([scores]) for name, scores in detectors.items()}
    curves = {name: {clip: smooth(part, sigma) for clip, part in by_clip.items()} for name, by_clip in ranks.items()}
    trainings = {f"{name}, {part}": records for name, path in zip(efforts, args.scores, strict=True)
                 for part, records in read_trainings(path).items()}  # fmt: skip
    pictures = [curve_pictures(curves, labels), training_pictures(trainings)]
    write_page(args.output, page(args.dataset, rows, efforts, frames, sigma, pictures))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--dataset", required=True)
    arguments.add_argument("--table", required=True, type=Path)
    add_paths(arguments, "output", many=("models", "scores", "objects", "calibrations", "trivial"))
    add_optional_paths(arguments, "localisations")
    run(main, arguments)
