"""Are teachers and students better where each cell of their maps is measured by what is usual there in training?

    PYTHONPATH=src:tests python -m benchmarks.places demo results/demo/clips results/demo --sigma 5
    PYTHONPATH=src:tests python -m benchmarks.places folder resources/ucsd_ped1 results/ped1_small --sigma 15

It reads the maps of the splits train and test of every teacher that has both, and of the student where
``student/scores/train.h5`` has been made, too.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks.adapt import in_percent

from vadistill.datasets.labels import read_labels
from vadistill.datasets.registry import read_clips
from vadistill.evaluation.metrics import FrameLabels, FrameScores
from vadistill.evaluation.protocols import difference, frame_auc
from vadistill.inference.places import PlaceSums
from vadistill.io.frames import FrameStore
from vadistill.io.maps import MapStore

Maps = dict[str, dict[int, np.ndarray]]  # by clip, {g: (T, g, g)}


def read_maps(paths: list[Path]) -> Maps:
    """Return all maps of some files."""
    store = MapStore(sorted(paths))
    return {clip: store.read(clip, tuple(store.resolutions(clip))) for clip in store.clips()}


def detectors(results: Path) -> Iterator[tuple[str, Maps, Maps]]:
    """Yield name, maps of normal clips and maps of test clips of the student, each teacher and their mean."""
    student = [results / f"student/scores/{split}.h5" for split in ("train", "test")]
    if all(path.exists() for path in student):
        yield "student", read_maps(student[:1]), read_maps(student[1:])
    found = [
        (folder.name, read_maps([*(folder / "train").glob("*.h5")]), read_maps([*(folder / "test").glob("*.h5")]))
        for folder in sorted((results / "maps").glob("*"))
        if (folder / "train").is_dir() and (folder / "test").is_dir()
    ]
    yield from found
    if len(found) > 1:
        yield "mean of the teachers", *(mean([maps[split] for maps in found]) for split in (1, 2))


def mean(parts: list[Maps]) -> Maps:
    """Return the mean of several detectors' maps."""
    return {clip: {g: np.mean([one[clip][g] for one in parts], 0) for g in grids} for clip, grids in parts[0].items()}


def frame_scores(maps: Maps) -> FrameScores:
    """Return the mean over the resolutions of each map's maximum, as a student's score is."""
    return {
        clip: np.mean([grid.reshape(len(grid), -1).max(1) for grid in grids.values()], 0)
        for clip, grids in maps.items()
    }


def placed(normal: Maps, test: Maps) -> FrameScores:
    """Return the frame scores by what is usual at each place of normal clips."""
    sums = PlaceSums()
    for grids in normal.values():
        sums.add(grids)
    statistics = sums.statistics()
    return {clip: statistics.scored(grids).score for clip, grids in test.items()}


def labels_of(layout: str, data: Path, results: Path) -> FrameLabels:
    """Return the labels (T,) of the test clips."""
    found = {}
    for clip in read_clips(layout, data):
        if clip.split == "test" and (path := results / f"frames/test/{clip.name}.h5").exists():
            store = FrameStore(path)
            found[clip.name] = read_labels(clip, len(store), (store.height, store.width)).frame
    return found


def of_results(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a benchmark of one data set's results."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("layout")
    arguments.add_argument("data", type=Path)
    arguments.add_argument("results", type=Path)
    arguments.add_argument("--sigma", type=float, required=True, help="frames")
    return arguments


def main() -> None:
    """Print micro and macro AUC in % of each detector, as it is and by place, and the paired difference."""
    args = of_results(__doc__).parse_args()
    labels = labels_of(args.layout, args.data, args.results)
    for name, normal, test in detectors(args.results):
        plain, by_place = frame_scores(test), placed(normal, test)
        told = [frame_auc(scores, labels, args.sigma) for scores in (plain, by_place)]
        gain = difference(by_place, plain, labels, args.sigma)
        print(
            f"{name:22}",
            *(f"{100 * made['micro_auc']:.1f} / {100 * made['macro_auc']:.1f} " for made in told),
            f"{in_percent(gain.micro_auc, gain.micro_interval)} / {in_percent(gain.macro_auc, gain.macro_interval)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
