"""A backend that does nothing but fill memory; it is loaded in other processes, so that it imports little."""

import numpy as np


class Wasteful:
    """Holds ``loaded`` bytes for good, and ``scored`` bytes a frame while it scores."""

    size, offsets, flow, resolutions, conditions = (2, 2), (0,), "none", (1,), None

    def __init__(self, loaded, scored):
        self.loaded, self.scored = np.ones(loaded, np.uint8), scored

    def __call__(self, frames):
        return np.ones(len(frames) * self.scored, np.uint8)
