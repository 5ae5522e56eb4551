"""The backends of OpenVINO: float32, bfloat16 and 8 bits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino

from vadistill.errors import InputError
from vadistill.inference.backend import Scores
from vadistill.inference.openvino_graph import description_of, quantised, read_openvino


class OpenVinoBackend:
    """A student in OpenVINO, on the CPU; see ``vadistill.inference.backend.Backend``.

    Args:
        name: Of the backend.
        model: A trained student, an ``.onnx`` file or a folder that was exported from one.
        threads: That it may use.
        precision: ``fp32``, ``bf16`` or ``int8``; of the latter, the rest is bfloat16 where the processor has it.
        calibration: Windows of training frames, (3 * F, H, W) uint8, for int8 from a graph that is not yet.

    Raises:
        InputError: The file is none of these or of another precision, the processor does not compute in bfloat16, or
            there are no frames to calibrate on.
    """

    def __init__(
        self, name: str, model: Path, threads: int, precision: str, calibration: Sequence[np.ndarray] = ()
    ) -> None:
        graph = read_openvino(model)
        described = description_of(graph, model)
        if precision == "int8" and described.precision != "int8":
            graph = quantised(graph, calibration)
        elif precision != "int8" and described.precision == "int8":
            raise InputError(f"{model}: holds 8-bit weights; expected float ones for the backend '{name}'")
        core = openvino.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not native:
            raise InputError(f"backend '{name}': this processor does not compute in bfloat16; expected one that does")
        self.name, self._description = name, described
        self.size, self.offsets, self.resolutions = described.size, described.offsets, described.resolutions
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if native and precision != "fp32" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        # A graph of a fixed batch is faster than one of any batch: here for a piece, and for single frames of the rest.
        self._requests = {}
        for count in {1, described.piece}:
            graph.reshape([count, *described.frames])
            self._requests[count] = core.compile_model(graph, "CPU", options).create_infer_request()

    def __call__(self, frames: np.ndarray) -> Scores:
        """Score windows of frames; see ``Backend``."""
        frames, start, parts = self._description.checked(frames), 0, []
        while start < len(frames):
            count = self._description.piece if len(frames) - start >= self._description.piece else 1
            made = self._requests[count].infer([frames[start : start + count]], share_inputs=True)
            parts.append([made[name] for name in self._description.outputs])
            start += count
        return self._description.scores(parts)
