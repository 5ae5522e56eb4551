"""A data set of ShanghaiTech's shape, in tiny files."""

from pathlib import Path

import cv2
import numpy as np
from trees import write_avi

TRAIN_CLIPS, TRAIN_FRAMES = 330, 274_515
TEST_CLIPS, TEST_FRAMES = 107, 40_791
SCENES, SIDE = 13, 16


def shared_out(total: int, parts: int) -> list[int]:
    """Return a total in nearly equal whole parts."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def train_names(clips: int = TRAIN_CLIPS) -> list[str]:
    """Return the names of training clips: scene, underscore, number."""
    return [f"{index % SCENES + 1:02d}_{index // SCENES + 1:03d}" for index in range(clips)]


def write_tree(root: Path, train=(TRAIN_CLIPS, TRAIN_FRAMES), test=(TEST_CLIPS, TEST_FRAMES)) -> int:
    """Write the tree of the layout ``shanghaitech``, (clips, frames) a split; return how many frames it has."""
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    image = cv2.imencode(".jpg", picture)[1].tobytes()
    videos: dict[int, bytes] = {}
    for name, length in zip(train_names(train[0]), shared_out(train[1], train[0]), strict=True):
        path = root / "training" / "videos" / f"{name}.avi"
        if length not in videos:
            write_avi(path, [picture] * length)
            videos[length] = path.read_bytes()
        path.write_bytes(videos[length])
    for index, length in enumerate(shared_out(test[1], test[0])):
        name = f"{index % SCENES + 1:02d}_{index // SCENES + 1:04d}"
        folder = root / "testing" / "frames" / name
        folder.mkdir(parents=True)
        for t in range(length):
            (folder / f"{t:03d}.jpg").write_bytes(image)
        for kind, content in (
            ("frame", np.zeros(length, np.uint8)),
            ("pixel", np.zeros((length, SIDE, SIDE), np.uint8)),
        ):
            masks = root / "testing" / f"test_{kind}_mask"
            masks.mkdir(exist_ok=True)
            np.save(masks / f"{name}.npy", content)
    return train[1] + test[1]
