"""Samples a second of the training loader, in one process: single windows, and runs of neighbours (``frame_run``).

    PYTHONPATH=src:tests python -m benchmarks.loader results/demo/frames/train/*.h5 --size 144x256 --stride 2

*before* decodes every frame of every window anew, as was done until windows shared their frames.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from vadistill.windows.loader import FrameWindows, loader

ROUNDS = 5


class Alone(FrameWindows):
    """Windows that share no frames."""

    def __getitem__(self, index: int):
        """Return an item, with nothing kept of the one before."""
        self._recent = {}
        return super().__getitem__(index)


def main() -> None:
    """Print the medians of all rounds, taken by turns."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("frames", type=Path, nargs="+")
    arguments.add_argument("--size", required=True, help="height and width in pixels, such as 360x640")
    arguments.add_argument("--offsets", default="-3,0,3", help="of a window's frames")
    arguments.add_argument("--stride", type=int, default=1)
    arguments.add_argument("--batch", type=int, default=64)
    arguments.add_argument("--samples", type=int, default=192, help="of a round")
    arguments.add_argument("--runs", default="8,16")
    args = arguments.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    height, width = map(int, args.size.split("x"))
    offsets = tuple(map(int, args.offsets.split(",")))
    kinds = {
        "before": (Alone, 1),
        **{f"run of {run}": (FrameWindows, run) for run in (1, *map(int, args.runs.split(",")))},
    }
    windows = {name: (kind(args.frames, (height, width), offsets), run) for name, (kind, run) in kinds.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for number in range(ROUNDS):
        for name, (those, run) in windows.items():
            order = those.epoch_order(number, args.stride, torch.Generator().manual_seed(number), run)[: args.samples]
            clock, processor = time.perf_counter(), time.process_time()
            for _ in loader(those, order, args.batch, 0):
                pass
            found[name].append(
                (len(order) / (time.perf_counter() - clock), len(order) / (time.process_time() - processor))
            )
    for name, rates in found.items():
        by_clock, by_processor = np.median(rates, axis=0)
        print(f"{name:10} {by_processor:6.0f} samples a second of the processor, {by_clock:6.0f} of the clock")


if __name__ == "__main__":
    main()
