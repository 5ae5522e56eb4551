"""What are a student's maps, the features and the motion that are unusual worth on one camera, alone and together?

    PYTHONPATH=src:tests python -m benchmarks.surprise demo results/demo/clips results/demo --sigma 5
    PYTHONPATH=src:tests python -m benchmarks.surprise folder resources/ucsd_ped1 results/ped1_small --sigma 15 \\
      --synthetic results/ped1_kinds

It reads student/distilled.pt, the frames of the splits train and test and, with ``--synthetic``, those of the split
validation of a variant and where its anomalies are (``frames/validation``, ``validation``). Motion is measured at the
student's size also where the student gets no flow. Prints micro / macro AUC in % of the test split by both weights,
then of some forms that and the mean of the two of each kind of synthetic anomaly, and by which kinds the forms have the
order that they have on the test split (Spearman's rank correlation).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.judge import KINDS
from benchmarks.places import labels_of, of_results
from scipy.stats import spearmanr
from torch import Tensor

from vadistill.datasets.labels import kind_of, labels_of_boxes
from vadistill.evaluation.metrics import FrameLabels, FrameScores
from vadistill.evaluation.protocols import frame_auc
from vadistill.frame_level.registry import unscored
from vadistill.frame_level.student import StudentDetector
from vadistill.settings import StudentConfig, section
from vadistill.student.network import Student, scale_frames
from vadistill.student.scoring import windows_of
from vadistill.student.surprise import BATCH, Surprise
from vadistill.training.checkpoint import load_model
from vadistill.windows.loader import FrameWindows, loader

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
# Weights of the maps, of features and of motion.
FORMS = {
    "maps": (1.0, 0.0, 0.0),
    "maps, features 0.5": (1.0, 0.5, 0.0),
    "maps, motion 0.5": (1.0, 0.0, 0.5),
    "maps, motion 1": (1.0, 0.0, 1.0),
    "maps, both (0.5, 1)": (1.0, 0.5, 1.0),
    "features": (0.0, 1.0, 0.0),
    "motion": (0.0, 0.0, 1.0),
}


@dataclass(frozen=True)
class Seen:
    """The highest cells of frames: of the finest map (N, g, g), and distances of features and motion (N, 2, g, g)."""

    maps: Tensor
    distances: Tensor


class Parts:
    """A student and what is usual on its camera, the features' and the motion's, both of weight 1."""

    def __init__(self, results: Path) -> None:
        model = load_model(results / "student/distilled.pt", unscored(StudentDetector.name))
        settings = json.loads(model["settings"])
        self.layout: StudentConfig = section("student", settings["student"])
        resolutions = settings["maps"]["resolutions"]
        self.student = Student(self.layout, resolutions)
        self.student.load_state_dict(model["weights"])
        self.student.eval()
        self.surprise = Surprise(
            self.layout, self.student.backbone.width, resolutions, {"features": 1.0, "motion": 1.0}
        )
        normal = self.windows(sorted(results.glob("frames/train/*.h5")), held_out=settings["held_out_clips"])
        self.surprise.measure(self.student, normal, torch.device("cpu"))

    def windows(self, paths: Sequence[Path], **more) -> FrameWindows:
        """Return the windows of the student with flow, whether it gets it or not."""
        return windows_of(paths, replace(self.layout, flow="medium"), **more)

    @torch.no_grad()
    def see(self, windows: FrameWindows) -> Seen:
        """Return what is seen of all frames of the windows."""
        maps, distances = [], []
        for frames, *_ in loader(windows, range(len(windows)), BATCH, 0):
            scaled = scale_frames(frames)
            features = self.student.backbone(scaled)[0].float()
            maps.append(self.student.maps_of(features)[self.surprise.finest][:, 0].float())
            flow = scaled[:, self.student.backbone.colours :]
            distances.append(torch.cat(self.surprise.distances(features, flow), 1))
        return Seen(torch.cat(maps), torch.cat(distances))

    def scores(self, seen: Seen, windows: FrameWindows, weights: tuple[float, float, float]) -> FrameScores:
        """Return the frame scores (T,) by clip with the weights of the maps, of features and of motion."""
        calm, rare = (values[:, None, None] for values in (self.surprise.calm, self.surprise.rare))
        unusual = ((seen.distances - calm) / rare).clamp(min=0).tanh()
        joined = weights[0] * (seen.maps / self.surprise.highest).tanh()
        joined = joined + weights[1] * unusual[:, 0] + weights[2] * unusual[:, 1]
        score = joined.flatten(1).amax(1).numpy() / sum(weights)
        parts = np.split(score, np.cumsum(windows.lengths)[:-1])
        return {store.clip: part for store, part in zip(windows.stores, parts, strict=True)}


def auc(scores: FrameScores, labels: FrameLabels, sigma: float) -> tuple[float, float]:
    """Return micro and macro AUC of the clips with labels, in %."""
    made = frame_auc({clip: scores[clip] for clip in labels}, labels, sigma)
    return 100 * made["micro_auc"], 100 * made["macro_auc"]


def by_kind(scores: FrameScores, labels: FrameLabels, sigma: float) -> dict[str, float]:
    """Return the mean of micro and macro AUC of each kind of synthetic anomaly, in %."""
    kinds = sorted({kind_of(clip) for clip in labels})
    parts = {kind: {clip: label for clip, label in labels.items() if kind_of(clip) == kind} for kind in kinds}
    return {kind: sum(auc(scores, part, sigma)) / 2 for kind, part in parts.items()}


def main() -> None:
    """Print the tables."""
    arguments = of_results(__doc__)
    arguments.add_argument("--synthetic", type=Path, help="results folder of a variant with synthetic anomalies")
    args = arguments.parse_args()
    parts, labels = Parts(args.results), labels_of(args.layout, args.data, args.results)
    test = parts.windows(sorted(args.results.glob("frames/test/*.h5")))
    seen = parts.see(test)
    print("features, motion:", *(f"{weight:>13}" for weight in WEIGHTS))
    for features in WEIGHTS:
        cells = [auc(parts.scores(seen, test, (1.0, features, motion)), labels, args.sigma) for motion in WEIGHTS]
        print(f"{features:16}", *(f"  {micro:.1f} / {macro:.1f}" for micro, macro in cells))
    told = {form: auc(parts.scores(seen, test, weights), labels, args.sigma) for form, weights in FORMS.items()}
    synthetic: dict[str, dict[str, float]] = {form: {} for form in FORMS}
    if args.synthetic:
        truth = labels_of_boxes(sorted(args.synthetic.glob("validation/*.npy")))
        windows = parts.windows(sorted(args.synthetic.glob("frames/validation/*.h5")))
        seen = parts.see(windows)
        synthetic = {form: by_kind(parts.scores(seen, windows, weights), truth, args.sigma)
                     for form, weights in FORMS.items()}  # fmt: skip
    for form, (micro, macro) in told.items():
        print(
            f"{form:22} {micro:.1f} / {macro:.1f} ", *(f"{kind} {value:.0f}" for kind, value in synthetic[form].items())
        )
    for name, group in KINDS.items():
        if all(kind in synthetic["maps"] for kind in group):
            mean = [np.mean([synthetic[form][kind] for kind in group]) for form in FORMS]
            rank = spearmanr(mean, [sum(told[form]) for form in FORMS]).statistic
            with_maps = [form for form, weights in FORMS.items() if weights[0]]
            best = max(with_maps, key=dict(zip(FORMS, mean, strict=True)).__getitem__)
            print(f"the {name} kinds: rank correlation {rank:.2f}, best form with maps: {best}")


if __name__ == "__main__":
    main()
