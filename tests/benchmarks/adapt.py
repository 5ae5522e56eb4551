"""What a packed detector reaches on another camera: as it is, with frames as far apart as in training, by place.

    PYTHONPATH=src:tests python -m benchmarks.adapt my_detector folder resources/ucsd_ped1 --sigma 15
    PYTHONPATH=src:tests python -m benchmarks.adapt my_detector demo 8 --sigma 5

``demo`` generates the data set of a seed. Everything that a detector adapts to comes from the training clips.
"""

import argparse
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from vadistill.datasets.clips import Clip
from vadistill.datasets.demo.video import write_clip
from vadistill.datasets.labels import read_labels
from vadistill.datasets.registry import demo_clips, read_clips
from vadistill.evaluation.metrics import FrameLabels, FrameScores
from vadistill.evaluation.protocols import difference, frame_auc_with_intervals
from vadistill.frame_level.packed import ScoringDefaults
from vadistill.inference.adapt import watched
from vadistill.inference.backend import Backend
from vadistill.inference.detector import load
from vadistill.inference.places import PlacedBackend
from vadistill.inference.scoring import ScoreOptions, Scoring
from vadistill.inference.stream import read_source
from vadistill.settings import DemoConfig


def generated(seed: int, folder: Path) -> list[Clip]:
    """Return the clips of a generated data set, written to a folder."""
    settings = replace(DemoConfig(), seed=seed)
    clips = demo_clips(folder, settings)
    for clip in clips:
        mask = folder / "test_pixel_mask" / f"{clip.name}.npy" if clip.split == "test" else None
        clip.source.parent.mkdir(parents=True, exist_ok=True)
        write_clip(settings, clip.split, clip.name, clip.source, mask)
    return clips


def scored(clips: list[Clip], model: Backend, match_rate: bool) -> FrameScores:
    """Return the frame scores (T,) of clips."""
    made = {}
    for clip in clips:
        scoring = Scoring(clip.source, model, ScoreOptions(match_rate=match_rate))
        made[clip.name] = np.concatenate([part.score for part in scoring.scores([])])
    return made


def labels_of(clips: list[Clip]) -> FrameLabels:
    """Return the frame labels (T,) of clips."""
    made = {}
    for clip in clips:
        frames = list(read_source(clip.source))
        made[clip.name] = read_labels(clip, len(frames), frames[0].shape[:2]).frame
    return made


def in_percent(value: float, interval: tuple[float, float] | None) -> str:
    """Return a number with its interval as text."""
    return f"{100 * value:5.1f}" + (" ({:.1f} to {:.1f})".format(*(100 * end for end in interval)) if interval else "")


def main() -> None:
    """Print AUC and paired differences of every form."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", type=Path)
    arguments.add_argument("layout")
    arguments.add_argument("data", help="folder of the data set, or the seed of a generated one")
    arguments.add_argument("--sigma", type=float, required=True)
    args = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = generated(int(args.data), Path(folder)) if args.layout == "demo" else read_clips(args.layout, args.data)
        train, test = ([clip for clip in clips if clip.split == split] for split in ("train", "test"))
        labels, model, made = labels_of(test), load(args.model).backend, dict[str, FrameScores]()
        for match_rate, places in product((False, True), (False, True)):
            used = model
            if places:
                normal = watched([clip.source for clip in train], model, ScoringDefaults(match_rate=match_rate))
                used = PlacedBackend(model, normal.places)
            name = " and ".join(["match-rate"] * match_rate + ["places"] * places) or "as it is"
            made[name] = scored(test, used, match_rate)
            found = frame_auc_with_intervals(made[name], labels, args.sigma)
            told = [in_percent(found[f"{kind}_auc"], found[f"{kind}_interval"]) for kind in ("micro", "macro")]
            gain = difference(made[name], made["as it is"], labels, args.sigma)
            more = [
                in_percent(getattr(gain, f"{kind}_auc"), getattr(gain, f"{kind}_interval"))
                for kind in ("micro", "macro")
            ]
            print(f"{args.data} {name:22} {' / '.join(told)}   difference {' / '.join(more)}", flush=True)


if __name__ == "__main__":
    main()
