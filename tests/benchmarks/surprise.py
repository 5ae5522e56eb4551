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

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.places import labels_of
from scipy.stats import spearmanr
from torch import Tensor

from vadistill.datasets.labels import kind_of, labels_of_boxes
from vadistill.datasets.synthetic.anomalies import REPLAYED
from vadistill.datasets.synthetic.vehicles import DRAWN
from vadistill.evaluation.metrics import FrameLabels, FrameScores
from vadistill.evaluation.protocols import frame_auc
from vadistill.frame_level.registry import unscored
from vadistill.frame_level.student import StudentDetector
from vadistill.maps.grid_pool import GridPool
from vadistill.settings import StudentConfig, section
from vadistill.settings.data import LEARNED_KINDS
from vadistill.student.network import Student, feature_cell, feature_grid, scale_frames
from vadistill.student.scoring import windows_of
from vadistill.student.surprise import BATCH, LEAST_PEAK, RARE, SCALE_FRAMES, USUAL_FRAMES
from vadistill.student.usual_features import UsualFeatures
from vadistill.student.usual_motion import UsualMotion
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
GROUPS = {"learned": LEARNED_KINDS, "replayed": REPLAYED, "drawn": tuple(DRAWN)}


@dataclass(frozen=True)
class Seen:
    """The highest cells of frames: of the finest map (N, g, g), and distances of features and motion (N, 2, g, g)."""

    maps: Tensor
    distances: Tensor


class Parts:
    """A student with what is usual, measured as ``student.surprise.Surprise`` does."""

    def __init__(self, results: Path) -> None:
        model = load_model(results / "student/distilled.pt", unscored(StudentDetector.name))
        settings = json.loads(model["settings"])
        self.layout: StudentConfig = section("student", settings["student"])
        resolutions = settings["maps"]["resolutions"]
        self.student = Student(self.layout, resolutions)
        self.student.load_state_dict(model["weights"])
        self.student.eval()
        self.finest, grid = max(resolutions), feature_grid(self.layout)
        self.pool = GridPool(grid, self.finest)
        self.features = UsualFeatures(grid, self.student.backbone.width)
        self.motion = UsualMotion(grid, feature_cell(self.layout), 2)
        normal = self.windows(sorted(results.glob("frames/train/*.h5")), held_out=settings["held_out_clips"])
        for features, flow in self._given(normal, normal.drawn_order(USUAL_FRAMES)):
            self.features.see(features)
            self.motion.see(flow)
        self.features.settle()
        self.motion.settle()
        scale = self.see(normal, normal.held_out_order(SCALE_FRAMES) or normal.drawn_order(SCALE_FRAMES))
        self.highest = _rare(scale.maps).clamp(min=LEAST_PEAK)
        self.calm = torch.stack([cells.median() for cells in scale.distances.unbind(1)])
        least = torch.tensor([self.features.least_spread, self.motion.least_spread])
        self.rare = torch.stack([_rare(cells) for cells in scale.distances.unbind(1)]).sub(self.calm).maximum(least)

    def windows(self, paths: Sequence[Path], **more) -> FrameWindows:
        """Return the windows of the student with flow, whether it gets it or not."""
        return windows_of(paths, replace(self.layout, flow="medium"), **more)

    @torch.no_grad()
    def _given(self, windows: FrameWindows, order: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        colours = self.student.backbone.colours
        for frames, *_ in loader(windows, list(order), BATCH, 0):
            scaled = scale_frames(frames)
            used = scaled if self.layout.flow != "none" else scaled[:, :colours]
            yield self.student.backbone(used)[0].float(), scaled[:, colours:]

    @torch.no_grad()
    def see(self, windows: FrameWindows, order: Sequence[int]) -> Seen:
        """Return what is seen of frames of the windows."""
        maps, distances = [], []
        for features, flow in self._given(windows, order):
            maps.append(self.student.maps_of(features)[self.finest][:, 0].float())
            both = [self.pool(self.features(features)), self.pool(self.motion(flow))]
            distances.append(torch.cat(both, 1))
        return Seen(torch.cat(maps), torch.cat(distances))

    def scores(self, seen: Seen, windows: FrameWindows, weights: tuple[float, float, float]) -> FrameScores:
        """Return the frame scores (T,) by clip with the weights of the maps, of features and of motion."""
        unusual = ((seen.distances - self.calm[:, None, None]) / self.rare[:, None, None]).clamp(min=0).tanh()
        joined = weights[0] * (seen.maps / self.highest).tanh()
        joined = joined + weights[1] * unusual[:, 0] + weights[2] * unusual[:, 1]
        score = joined.flatten(1).amax(1).numpy() * (float(self.highest) / math.tanh(1) / sum(weights))
        parts = np.split(score, np.cumsum(windows.lengths)[:-1])
        return {store.clip: part for store, part in zip(windows.stores, parts, strict=True)}


def _rare(cells: Tensor) -> Tensor:
    return cells.flatten(1).amax(1).quantile(RARE)


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
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("layout")
    arguments.add_argument("data", type=Path)
    arguments.add_argument("results", type=Path)
    arguments.add_argument("--sigma", type=float, required=True, help="frames")
    arguments.add_argument("--synthetic", type=Path, help="results folder of a variant with synthetic anomalies")
    args = arguments.parse_args()
    parts, labels = Parts(args.results), labels_of(args.layout, args.data, args.results)
    test = parts.windows(sorted(args.results.glob("frames/test/*.h5")))
    seen = parts.see(test, range(len(test)))
    print("features, motion:", *(f"{weight:>13}" for weight in WEIGHTS))
    for features in WEIGHTS:
        cells = [auc(parts.scores(seen, test, (1.0, features, motion)), labels, args.sigma) for motion in WEIGHTS]
        print(f"{features:16}", *(f"  {micro:.1f} / {macro:.1f}" for micro, macro in cells))
    told = {form: auc(parts.scores(seen, test, weights), labels, args.sigma) for form, weights in FORMS.items()}
    synthetic: dict[str, dict[str, float]] = {form: {} for form in FORMS}
    if args.synthetic:
        truth = labels_of_boxes(sorted(args.synthetic.glob("validation/*.npy")))
        windows = parts.windows(sorted(args.synthetic.glob("frames/validation/*.h5")))
        seen = parts.see(windows, range(len(windows)))
        synthetic = {form: by_kind(parts.scores(seen, windows, weights), truth, args.sigma)
                     for form, weights in FORMS.items()}  # fmt: skip
    for form, (micro, macro) in told.items():
        print(
            f"{form:22} {micro:.1f} / {macro:.1f} ", *(f"{kind} {value:.0f}" for kind, value in synthetic[form].items())
        )
    for name, group in GROUPS.items():
        if all(kind in synthetic["maps"] for kind in group):
            mean = [np.mean([synthetic[form][kind] for kind in group]) for form in FORMS]
            rank = spearmanr(mean, [sum(told[form]) for form in FORMS]).statistic
            with_maps = [form for form, weights in FORMS.items() if weights[0]]
            best = max(with_maps, key=dict(zip(FORMS, mean, strict=True)).__getitem__)
            print(f"the {name} kinds: rank correlation {rank:.2f}, best form with maps: {best}")


if __name__ == "__main__":
    main()
