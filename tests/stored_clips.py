"""Small stored clips for the tests that read frames."""

import cv2
import numpy as np

from vadistill.io.frames import FrameStore, write_frames

HEIGHT, WIDTH, FRAMES = 60, 90, 40


def store_of(folder, name, images):
    source = folder / f"{name}_images"
    source.mkdir()
    for t, image in enumerate(images):
        cv2.imwrite(str(source / f"{t:03d}.png"), image)
    write_frames(folder / f"{name}.h5", name, "train", source, "png", 95, "")
    return FrameStore(folder / f"{name}.h5")


def numbered_clip(folder, frames=FRAMES):
    """A clip whose pixel values are the frame number, in the blue channel twice of it."""
    images = [np.full((HEIGHT, WIDTH, 3), t, np.uint8) for t in range(frames)]
    for t, image in enumerate(images):
        image[..., 0] = 2 * t
    return store_of(folder, "numbered", images)
