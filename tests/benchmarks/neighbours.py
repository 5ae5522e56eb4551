"""Which part of what the teacher ``flow_neighbours`` measures carries it: the flow in a box, or the size of the box?

    PYTHONPATH=src:tests python -m benchmarks.neighbours demo results/demo/clips results/demo --sigma 5

It reads the object scores and the calibration of the teacher. Of each part of its features (flow to both sides, flow to
one, mean speed, height and width of the box) it takes the mean distance to the five nearest objects of the training
clips, those that are held out calibrate it, and prints micro / macro AUC in % of the test split.
"""

from collections.abc import Callable

import numpy as np
from benchmarks.places import labels_of, of_results
from scipy.spatial import cKDTree

from vadistill.evaluation import results
from vadistill.evaluation.protocols import frame_auc
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io.object_scores import ObjectScores, read_shards
from vadistill.maps.calibration import fit
from vadistill.maps.calibration_file import read_calibration
from vadistill.settings import section

NEIGHBOURS, MOST = 5, 20_000
Part = Callable[[np.ndarray], np.ndarray]
PARTS: dict[str, Part] = {
    "flow to both sides, size": lambda features: features,
    "flow to both sides": lambda features: features[:, :-2],
    "flow to one, size": lambda features: features[:, [*range(features.shape[1] // 2 - 1), -2, -1]],
    "speed, size": lambda features: np.column_stack([features[:, :-2].sum(1) / 2, features[:, -2:]]),
    "size": lambda features: features[:, -2:],
}


def main() -> None:
    """Print a line a part."""
    args = of_results(__doc__).parse_args()
    labels = labels_of(args.layout, args.data, args.results)
    held_out = read_calibration(args.results / "teachers/flow_neighbours/calibration.json")["clips"]

    def read(split: str) -> list[ObjectScores]:
        files = sorted((args.results / "object_scores/flow_neighbours" / split).glob("*.h5"))
        return [clip for clip in read_shards(files, features=True) if len(clip.frame)]

    normal, test = read("train"), read("test")
    if all(clip.clip in held_out for clip in normal):
        raise SystemExit("error: calibrated on all training clips; expected some that are not held out")
    for name, part in PARTS.items():

        def features(clip: ObjectScores, part: Part = part) -> np.ndarray:
            assert clip.features is not None  # they were read
            return part(clip.features.astype(np.float64))

        known = np.concatenate([features(clip) for clip in normal if clip.clip not in held_out])
        tree = cKDTree(known[:: -(-len(known) // MOST)])
        terms = {clip.clip: tree.query(features(clip), NEIGHBOURS)[0].mean(1)[:, None] for clip in (*normal, *test)}
        used = [clip for clip in normal if clip.clip in held_out]
        row = np.concatenate([clip.row for clip in used])
        fitted = np.concatenate([terms[clip.clip] for clip in used])
        calibrator = fit([name], [], fitted, np.zeros(len(row), int), row, [""], section("calibration", {}))
        objects = {}
        for clip in test:
            score = calibrator(terms[clip.clip], "", clip.row)
            objects[clip.clip] = ScoredObjects(clip.frames, clip.size, clip.frame, clip.box, score)
        scores = results.highest(objects)
        made = frame_auc({clip: scores[clip] for clip in labels}, labels, args.sigma)
        print(f"{name:26} {100 * made['micro_auc']:.1f} / {100 * made['macro_auc']:.1f}", flush=True)


if __name__ == "__main__":
    main()
