"""All inference backends by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.extras import extra, installed
from vadistill.frame_level.packed import PackedDetector, is_packed
from vadistill.inference.backend import Backend
from vadistill.inference.model_files import ONNX, OPENVINO, STUDENT, model_ending
from vadistill.io.files import checked_path
from vadistill.processors import cores
from vadistill.windows.shape import NO_FLOW

Frames = Sequence[np.ndarray]
BASELINE = "eager-fp32"  # the student as it is trained


def _torch(maker: str, dtype: str) -> Callable[[str, Path, int, Frames], Backend]:
    def load(name: str, model: Path, threads: int, _: Frames) -> Backend:
        with extra("train"):
            import torch

            from vadistill.inference import torch_backend

        return getattr(torch_backend, maker)(name, model, threads, getattr(torch, dtype))

    return load


def _onnx(name: str, model: Path, threads: int, _: Frames) -> Backend:
    from vadistill.inference.onnx_backend import OnnxBackend

    return OnnxBackend(name, model, threads)


def _openvino(precision: str) -> Callable[[str, Path, int, Frames], Backend]:
    def load(name: str, model: Path, threads: int, calibration: Frames) -> Backend:
        from vadistill.inference.openvino_backend import OpenVinoBackend

        return OpenVinoBackend(name, model, threads, precision, calibration)

    return load


RUN_BY = {STUDENT: ("",), ONNX: ("onnx", "openvino"), OPENVINO: ("openvino",)}  # how names of backends begin


# A runtime is imported when one of its backends is loaded, so that none but the chosen one must be installed.
BACKENDS: dict[str, Callable[[str, Path, int, Frames], Backend]] = {
    BASELINE: _torch("eager", "float32"),
    "torch-fp32": _torch("folded", "float32"),
    "torch-bf16": _torch("folded", "bfloat16"),
    "torch-fp16": _torch("folded", "float16"),
    "torch-compile-bf16": _torch("compiled", "bfloat16"),
    "torch-compile-fp16": _torch("compiled", "float16"),
    "onnx-fp32": _onnx,
    "openvino-fp32": _openvino("fp32"),
    "openvino-bf16": _openvino("bf16"),
    "openvino-int8": _openvino("int8"),
}


def backend_for(model: Path) -> str:
    """Return the name of the backend that runs a student best as it is stored: what nobody needs to choose.

    Raises:
        InputError: The model is missing or damaged, its ending is unknown, or its runtime is not installed.
    """
    found = model_ending(model)
    if is_packed(model):
        packed = PackedDetector.open(model, compare=False)
        if packed.has_openvino and installed("openvino"):
            return "openvino-fp32"
        return "onnx-fp32" if packed.has_onnx else "torch-fp32"
    if found != OPENVINO:
        return {STUDENT: "torch-fp32", ONNX: "onnx-fp32"}[found]
    from vadistill.inference.openvino_graph import description_of, read_openvino

    precision = description_of(read_openvino(model), model).precision
    return "openvino-int8" if precision == "int8" else "openvino-fp32"


def load_backend(name: str, model: Path, *, threads: int | None = None, calibration: Frames = ()) -> Backend:
    """Return a trained student on one of ``BACKENDS``: the network alone, without what an adapted folder adds.

    Args:
        name: Of the backend.
        model: A trained student (``.pt``), or the folder that ``vadistill pack`` wrote of one; for the backends of ONNX
            Runtime and OpenVINO also what ``vadistill export`` made of one, an ``.onnx`` file or (OpenVINO only) a
            folder.
        threads: That it may use, by default all processors of this process; nothing to a GPU.
        calibration: Windows of training frames, (C, H, W) uint8, on which ``openvino-int8`` finds its ranges; a
            graph that was exported in 8 bits needs none.

    Raises:
        InputError: There is no such backend, a package of it is not installed, or the model is missing or not one that
            it runs.
    """
    checked_path(model)
    if name not in BACKENDS:
        raise InputError(f"backend '{name}': unknown; expected one of {', '.join(BACKENDS)}")
    if is_packed(model):
        model = PackedDetector.open(model).model(name)
    beginnings = RUN_BY[model_ending(model)]
    if not name.startswith(beginnings):
        fitting = ", ".join(known for known in BACKENDS if known.startswith(beginnings))
        raise InputError(f"{model}: the backend '{name}' does not run such a file; expected one of {fitting}")
    backend = BACKENDS[name](name, model, threads or cores(), calibration)
    if backend.flow != NO_FLOW:
        import vadistill.windows.flow_planes  # noqa: F401 (without OpenCV there is no flow: said before a clip is read)
    return backend
