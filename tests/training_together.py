"""Train the student and SDMAE on made clips for a few steps: alone, or in several processes by torchrun."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from stored_clips import store_of

from vadistill.io import maps
from vadistill.io.hdf5 import writing
from vadistill.sdmae import network
from vadistill.stages import distill_student, pretrain_student, train_detector

NETWORK = {"height": 32, "width": 48, "base_width": 2, "downsamplings": 2, "depth": 1, "heads": 1, "head_width": 4}
COMMON = {"epochs": 2, "batch": 4, "frame_run": 2, "precision": "float32", "weight_decay": 0.0}
DISTILLATION = {"teachers": ["one", "two"], "object_weight": 4.0, "flip": True, "pretrained": False, **COMMON}
SDMAE = {
    **{"height": 32, "width": 48, "patch": 8, "encoder_width": 16, "encoder_depth": 1, "decoder_width": 8},
    **{"decoder_depth": 2, "heads": 2, "second_epochs": 1, "synthetic_share": 0.0, **COMMON},
}


def make_data(folder: Path) -> None:
    """Store two clips of 9 and 7 frames and the maps of two teachers."""
    rng = np.random.default_rng(0)
    lengths = {"a": 9, "b": 7}
    for clip, length in lengths.items():
        store_of(folder, clip, rng.integers(0, 256, (length, 32, 48, 3), dtype=np.uint8))
    for teacher in ("one", "two"):
        with writing(folder / f"{teacher}.h5") as file:
            file.attrs["teacher"] = teacher
            for clip, length in lengths.items():
                grids = {g: np.maximum(rng.random((length, g, g)) - 0.4, 0) for g in (1, 4)}
                maps.write_clip(file, clip, grids)


def train(folder: Path, output: Path) -> None:
    """Train all three on what ``make_data`` stored."""
    frames, held_out = [folder / "a.h5", folder / "b.h5"], {"b": 0.6}
    common = {"maps": {"resolutions": [1, 4]}, "held_out_clips": held_out}
    settings = {"student": NETWORK, "pretraining": COMMON}
    pretrain_student.main(SimpleNamespace(settings=settings, frames=frames, output=output / "pretrained.pt"))
    settings = {"student": NETWORK, "distillation": DISTILLATION, **common}
    given = {"frames": frames, "maps": [folder / "one.h5", folder / "two.h5"], "output": output / "distilled.pt"}
    empty = {"scores": [], "validation": [], "boxes": [], "pretrained": None}
    distill_student.main(SimpleNamespace(settings=settings, **given, **empty))
    network.DROPOUT = 0.0  # each process drops other things
    settings = {"sdmae": SDMAE, **common}
    train_detector.main(SimpleNamespace(settings=settings, detector="sdmae", frames=frames, output=output / "model.pt"))


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]))
