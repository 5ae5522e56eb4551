"""The door from Python: a trained student that scores videos. The same as ``vadistill score``, without files."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vadistill.inference.backend import Backend
from vadistill.inference.backends import backend_for, load_backend
from vadistill.inference.score_table import check_rate, matched_offsets, with_warning
from vadistill.inference.stream import StreamTimes, score_video, source_rate


@dataclass(frozen=True)
class ClipScores:
    """What a student says of the T frames of a clip.

    Attributes:
        score: (T,) float32 frame scores; a higher one is more abnormal.
        time: (T,) float64 presentation times in seconds after the first frame, or None where they are unknown.
        maps: {g: (T, g, g) float32} anomaly maps by resolution, the side g of the grid.
    """

    score: np.ndarray
    time: np.ndarray | None
    maps: dict[int, np.ndarray]

    def __len__(self) -> int:
        return len(self.score)


class FrameDetector:
    """A trained student on one of the inference backends.

    Attributes:
        backend: It runs the network, and knows the size of its input and how its training clips were filmed.
    """

    def __init__(self, backend: Backend) -> None:
        """Take a loaded backend; see ``load``."""
        self.backend = backend

    def score(self, source: str | Path, batch: int = 16, match_rate: bool = False) -> ClipScores:
        """Score every frame of a clip.

        A clip that was filmed unlike the training clips is warned of in the log.

        Args:
            source: A video, a folder of images, or a stored clip (.h5).
            batch: Frames scored at once.
            match_rate: Choose the step between a window's frames by the clip's rate, so that they lie as far apart in
                time as in training.

        Raises:
            InputError: The source cannot be read to its end, or there is no rate to match.
        """
        check_rate(self.backend, match_rate)
        source, moments, times = Path(source), deque(), StreamTimes()
        rate = source_rate(source)
        offsets = matched_offsets(source, rate, self.backend) if match_rate else None
        scores = score_video(source, self.backend, batch, times, moments=moments, offsets=offsets)
        parts = list(with_warning(scores, source, self.backend, times, None if match_rate else rate))
        maps = {g: np.concatenate([part.maps[g] for part in parts]) for g in self.backend.resolutions}
        time = np.array(moments) if moments else None
        return ClipScores(np.concatenate([part.score for part in parts]), time, maps)


def load(model: str | Path, backend: str | None = None) -> FrameDetector:
    """Load a trained student.

    Args:
        model: ``distilled.pt``, or what ``vadistill export`` made of it.
        backend: A key of ``inference.backends.BACKENDS``; by default what runs the model best as it is stored.

    Raises:
        InputError: The model is missing or damaged, or the backend's runtime is not installed.
    """
    model = Path(model)
    return FrameDetector(load_backend(backend or backend_for(model), model))
