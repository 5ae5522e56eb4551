"""Trained students as files of other runtimes, each checked against torch before it takes its name.

A written graph takes windows of frames, ``frames`` (N, C, H, W) uint8: BGR triples, then the planes of the flow
(``windows.flow_planes``) where the student gets it. It gives ``score`` (N,) and ``map_<g>`` (N, g, g), float32. Scaling
of the pixels is inside; bringing frames to H x W stays outside (``io.resize.resize``), since no ONNX operator averages
areas as OpenCV's INTER_AREA does, and so does the flow. What else a user must know (size, offsets of the frames, flow,
resolutions, settings of the training) is JSON among the file's metadata.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.frame_level.registry import read_detector
from vadistill.inference.backend import Backend
from vadistill.inference.backends import load_backend
from vadistill.inference.description import is_onnx_export, is_openvino_export
from vadistill.inference.model_files import EXPORTS, ONNX, check_student
from vadistill.io.files import whole_file, whole_folder
from vadistill.io.formats import known_ending, refuse_to_replace
from vadistill.windows.shape import window_shape

# Highest difference of a score or a map's cell from torch's: at least four times what trained students showed.
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.2}
CALIBRATION, CHECKED = 128, 8  # windows of frames


def export_ending(model: Path, output: Path) -> str:
    """Return the ending of what is to be exported, a key of ``EXPORTS``; nothing is written.

    Raises:
        InputError: The model is no distilled student, the ending is unknown, or something else than an earlier export
            of that format is there.
    """
    if output.name in ("", "..") or output.name.lower() in EXPORTS:  # an ending alone is no name
        raise InputError(f"{output}: expected a name for what is exported")
    found = known_ending(output, EXPORTS)
    check_student(model)
    if found == ONNX:
        refuse_to_replace(output, is_onnx_export, "ONNX export of a student")
    else:
        refuse_to_replace(output, is_openvino_export, "OpenVINO export of a student")
    return found


def export_onnx(model: Path, output: Path, windows: Sequence[np.ndarray] = ()) -> float:
    """Write a trained student as an ``.onnx`` file in float32, whole or not at all.

    Args:
        model: The student.
        output: The file.
        windows: Real ones, (C, H, W) uint8, on which the file is checked besides random ones.

    Returns:
        The highest difference of its scores and maps from torch's.

    Raises:
        InputError: The model is no student, the name is not ``.onnx``, another file is there, or the difference is too
            large.
    """
    if export_ending(model, output) != ONNX:
        raise InputError(f"{output}: expected a name that ends in {ONNX}")
    from vadistill.inference.onnx_graph import to_onnx

    with whole_file(output) as temporary:
        temporary.write_bytes(to_onnx(model))
        return _checked(output, load_backend("onnx-fp32", temporary), model, windows, "fp32")


def export_openvino(model: Path, output: Path, precision: str = "fp32", windows: Sequence[np.ndarray] = ()) -> float:
    """Write a trained student as a folder of ``model.xml`` and ``model.bin``, whole or not at all.

    Args:
        model: The student.
        output: The folder; one that an earlier export wrote is replaced.
        precision: ``fp32``, ``fp16`` (weights that take half the space; it computes as before) or ``int8``.
        windows: Of training frames, (C, H, W) uint8: int8 is calibrated on them, and the graph is checked on some
            of them and, but for int8, on random ones.

    Returns:
        The highest difference of its scores and maps from torch's.

    Raises:
        InputError: The model is no student, the precision is unknown, int8 has no frames, the name has an ending,
            something else than an earlier export is there, or the difference is too large.
    """
    if precision not in TOLERANCES:
        raise InputError(f"precision '{precision}': unknown; expected one of {', '.join(TOLERANCES)}")
    if export_ending(model, output) == ONNX:
        raise InputError(f"{output}: expected the name of a folder for OpenVINO")
    from vadistill.inference.openvino_graph import describe, description_of, quantised, read_openvino, save

    graph = read_openvino(model)
    description = replace(description_of(graph, model), precision=precision)
    if precision == "int8":
        graph = quantised(graph, windows)
    describe(graph, description)
    with whole_folder(output) as temporary:
        save(graph, temporary, half=precision == "fp16")
        backend = load_backend("openvino-int8" if precision == "int8" else "openvino-fp32", temporary)
        difference = _checked(output, backend, model, windows, precision)
        export_ending(model, output)  # what has come there meanwhile is not removed
    return difference


def loadable(backend: str, model: Path, folder: Path, windows: Sequence[np.ndarray]) -> Path:
    """Return what a backend loads a student from: an export in a folder where it has one, so that nothing is converted.

    Args:
        backend: Name of the backend.
        model: The student.
        folder: Where exports are written; one that is there is used again.
        windows: Real ones, (C, H, W) uint8: int8 is calibrated on them.
    """
    if backend == "openvino-int8":
        export_openvino(model, folder / "int8", "int8", windows)
        return folder / "int8"
    if backend.startswith(("onnx", "openvino")):
        if not (folder / "student.onnx").exists():
            export_onnx(model, folder / "student.onnx", windows)
        return folder / "student.onnx"
    return model


def windows_for(model: Path, frames: Sequence[Path]) -> list[np.ndarray]:
    """Return windows (C, H, W) uint8 as a student sees them, 128 at most, evenly spread over stored clips.

    Raises:
        InputError: The model is no student, or a file holds no frames.
    """
    windows = read_detector(model).detector.windows(frames)
    chosen = np.linspace(0, len(windows) - 1, min(CALIBRATION, len(windows))).astype(int)
    return [windows[i][0].numpy() for i in chosen]


def _checked(output: Path, backend: Backend, model: Path, windows: Sequence[np.ndarray], precision: str) -> float:
    """Return the highest difference of a backend from torch, unless it is too large."""
    shape = window_shape(backend.size, backend.offsets, backend.flow)
    given = [windows[i] for i in np.linspace(0, len(windows) - 1, min(CHECKED, len(windows))).astype(int)]
    if precision != "int8":  # its ranges are those of real frames
        given += list(np.random.default_rng(0).integers(0, 256, (CHECKED, *shape), np.uint8))
    expected, made = (one(np.stack(given)) for one in (load_backend("eager-fp32", model), backend))
    pairs = [(expected.score, made.score), *((expected.maps[g], made.maps[g]) for g in expected.maps)]
    difference = max(float(np.abs(a - b).max()) for a, b in pairs)
    if not difference <= TOLERANCES[precision]:
        raise InputError(
            f"{output}: not written, differs from torch by {difference:.2g}; expected at most {TOLERANCES[precision]}"
        )
    return difference
