"""Draw one clip of the generated data set."""

import argparse
from pathlib import Path

import cv2

from vadistill.datasets.demo.video import write_clip
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run


def main(arguments: argparse.Namespace) -> None:
    """Write the clip's video and, if asked for, its pixel masks."""
    cv2.setNumThreads(1)  # many clips are drawn at a time
    settings = section("demo", arguments.settings["demo"])
    write_clip(settings, arguments.split, arguments.clip, arguments.video, arguments.mask)


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--split", choices=["train", "test"], required=True)
    made.add_argument("--clip", required=True, help="name of the clip, such as test_03")
    made.add_argument("--mask", type=Path, help="where to write pixel masks (T, H, W) as .npy")
    add_paths(made, "video")
    run(main, made)
