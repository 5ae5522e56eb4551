"""Images with boxes for training the demo's detector: other scenes, crowds and lights of the same kind."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vadistill.datasets.demo import CLASSES
from vadistill.datasets.demo.clips import Box, random_clip
from vadistill.datasets.demo.scene import make_scene
from vadistill.errors import InputError

FRAMES = 60
CLIPS_A_SCENE = 3
IMAGES_A_CLIP = 4
# Repeated kinds keep the rarer classes from drowning in pedestrians.
EVENTS = ("cycle", "cycle", "cart", "throw", "throw", "run", "against_flow", "loiter")


def detector_images(seed: int, count: int, height: int, width: int) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """Yield ``count`` frames (H, W, 3) uint8 BGR with the boxes of all that is seen."""
    rng = np.random.default_rng([seed, 5])
    made = 0
    while made < count:
        scene = make_scene(int(rng.integers(1 << 31)), height, width)
        for _ in range(CLIPS_A_SCENE):
            events = [(kind, (0, FRAMES)) for kind in EVENTS if rng.random() < 0.5]
            clip = random_clip(scene, int(rng.integers(1 << 31)), FRAMES, events)
            for index in rng.integers(0, FRAMES, min(IMAGES_A_CLIP, count - made)):
                frame, _, boxes = clip.frame(int(index))
                yield frame, boxes
                made += 1


def write_yolo_dataset(folder: Path, seed: int, counts: dict[str, int], height: int, width: int) -> Path:
    """Write images and labels in YOLO's layout and return the path of its ``data.yaml``.

    Args:
        folder: Where to write.
        seed: Everything is drawn from it; the splits share no scene.
        counts: Number of images of each split, such as {"train": 3000, "val": 200}.
        height: Frame height in pixels.
        width: Frame width in pixels.

    Raises:
        InputError: An image cannot be written.
    """
    for number, (split, count) in enumerate(counts.items()):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index, (frame, boxes) in enumerate(detector_images(2 * seed + number, count, height, width)):
            if not cv2.imwrite(str(images / f"{index:05}.png"), frame):
                raise InputError(f"{images}: cannot write images")
            lines = [_label(box, height, width) for box in boxes]
            (labels / f"{index:05}.txt").write_text("".join(lines), encoding="utf-8")
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASSES))
    splits = "".join(f"{split}: images/{split}\n" for split in counts)
    data = folder / "data.yaml"
    data.write_text(f"path: {folder.resolve()}\n{splits}names:\n{names}", encoding="utf-8")
    return data


def _label(box: Box, height: int, width: int) -> str:
    """Return a line of a YOLO label: class, centre and size as shares of the frame."""
    name, x1, y1, x2, y2 = box
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{CLASSES.index(name)} " + " ".join(f"{value:.6f}" for value in values) + "\n"
