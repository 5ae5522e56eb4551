"""The backends of OpenVINO: float32, bfloat16 and 8 bits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.extras import extra
from vadistill.inference.backend import BatchScores
from vadistill.inference.openvino_graph import description_of, quantised, read_openvino

with extra("openvino"):
    import openvino


class OpenVinoBackend:
    """A student in OpenVINO, on the CPU; see ``vadistill.inference.backend.Backend``.

    Args:
        name: Of the backend.
        model: A trained student, an ``.onnx`` file or a folder that was exported from one.
        threads: That it may use.
        precision: ``fp32``, ``bf16`` or ``int8``; of the latter, the rest is bfloat16 where the processor has it.
        calibration: Windows of training frames, (C, H, W) uint8, for int8 from a graph that is not yet.

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
        self.flow, self.conditions, self.detector = described.flow, described.conditions, described.detector
        hint = "bf16" if native and precision != "fp32" else "f32"

        def compiled(count: int, streams: int) -> openvino.CompiledModel:
            graph.reshape([count, *described.window])  # a graph of one size of batch is faster than one of any
            options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
            return core.compile_model(graph, "CPU", options)

        # Threads that work on frames of their own never wait for each other; too few frames are shared by all of them.
        self._threads, self._piece = threads, max(described.piece // threads, 1)
        self._queue = openvino.AsyncInferQueue(compiled(self._piece, threads), threads)
        self._single = compiled(1, 1).create_infer_request()

    def __call__(self, frames: np.ndarray) -> BatchScores:
        """Score windows of frames; see ``Backend``."""
        frames, step = self._description.checked(frames), self._piece
        pieces = len(frames) // step
        pieces = pieces if pieces >= self._threads else 0
        parts: list[list[np.ndarray]] = [[]] * pieces

        def keep(request: openvino.InferRequest, i: int) -> None:
            parts[i] = self._outputs(request)

        self._queue.set_callback(keep)
        for i in range(pieces):
            self._queue.start_async([frames[i * step : (i + 1) * step]], i, share_inputs=True)
        self._queue.wait_all()
        for i in range(pieces * step, len(frames)):
            self._single.infer([frames[i : i + 1]], share_inputs=True)
            parts.append(self._outputs(self._single))
        return self._description.scores(parts)

    def _outputs(self, request: openvino.InferRequest) -> list[np.ndarray]:
        return [request.get_tensor(name).data.copy() for name in self._description.outputs]
