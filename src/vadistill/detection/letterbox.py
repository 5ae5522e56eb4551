"""Frames as a YOLO network takes them: resized, padded with gray, RGB from 0 to 1, without a copy too many."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

PADDING_GREY = 114
WHITE = np.float32(255)


class Letterbox:
    """Lays frames of one size into the input of a network.

    It has two arrays by turns, so that one can be filled while the network reads the other; new ones each time would
    cost more than filling them.

    Attributes:
        scale: Of the frame within the input.
        top: Rows of padding above the frame.
        left: Columns of padding beside it.
    """

    def __init__(self, frame: tuple[int, int], network: tuple[int, int, float], batch: int) -> None:
        """Take heights and widths of the frames and of the network's input, the frame's scale in it, and the batch."""
        height, width, self.scale = network
        self._rows, self._columns = round(frame[0] * self.scale), round(frame[1] * self.scale)
        self.top, self.left = (height - self._rows) // 2, (width - self._columns) // 2
        self._filled = torch.empty(2, batch, 3, height, width)
        self._filled.fill_(float(PADDING_GREY / WHITE))
        self._turn = 0

    def __call__(self, frames: Sequence[np.ndarray]) -> torch.Tensor:
        """Return frames (H, W, 3) uint8 BGR as (N, 3, h, w) float32; it holds until the next but one call."""
        self._turn = 1 - self._turn
        made = self._filled[self._turn, : len(frames)]
        inside = made.numpy()[..., self.top : self.top + self._rows, self.left : self.left + self._columns]
        for frame, planes in zip(frames, inside, strict=True):
            resized = cv2.resize(frame, (self._columns, self._rows))
            for plane, values in zip(planes[::-1], cv2.split(resized), strict=True):
                np.divide(values, WHITE, out=plane)
        return made
