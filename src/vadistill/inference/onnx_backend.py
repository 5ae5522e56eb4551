"""The backend of ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime

from vadistill.errors import InputError
from vadistill.extras import extra
from vadistill.inference.backend import BatchScores
from vadistill.inference.description import KEY, Description
from vadistill.inference.model_files import ONNX
from vadistill.io.formats import ending


class OnnxBackend:
    """A student in ONNX Runtime, on the CPU; see ``vadistill.inference.backend.Backend``.

    Args:
        name: Of the backend.
        model: A trained student, or the ``.onnx`` file that was exported from one.
        threads: That it may use.

    Raises:
        InputError: The file is neither.
    """

    def __init__(self, name: str, model: Path, threads: int) -> None:
        source = str(model) if ending(model) == ONNX else _exported(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception a cause, none of them public
            raise InputError(f"{model}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        described = Description.read(model, self._session.get_modelmeta().custom_metadata_map.get(KEY))
        self.name, self._description = name, described
        self.size, self.offsets, self.resolutions = described.size, described.offsets, described.resolutions
        self.flow, self.conditions, self.detector = described.flow, described.conditions, described.detector

    def __call__(self, frames: np.ndarray) -> BatchScores:
        """Score windows of frames; see ``Backend``."""
        frames, step = self._description.checked(frames), self._description.piece
        names = self._description.outputs
        parts = [self._session.run(names, {"frames": frames[i : i + step]}) for i in range(0, len(frames), step)]
        return self._description.scores(parts)


def _exported(model: Path) -> bytes:
    with extra("train"):  # an exported file needs no exporter
        from vadistill.inference.onnx_graph import to_onnx

    return to_onnx(model)
