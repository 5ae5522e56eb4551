"""A trained student as an OpenVINO graph, in float32 or in 8 bits."""

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.extras import extra
from vadistill.inference.description import GRAPH, KEY, Description
from vadistill.inference.model_files import STUDENT
from vadistill.io.formats import ending

with extra("openvino"):
    import openvino

# The layers that make the scores, by the beginning of their names: of the student, of SDMAE.
SCORES = (
    "student.heads.",
    "surprise.parts.motion",
    "network.first.output",
    "network.second.output",
    "network.classifier",
)
KEPT = ["framework", KEY]  # where OpenVINO keeps the metadata of an ONNX file, and we the description


def read_openvino(model: Path) -> openvino.Model:
    """Return the graph of a trained student, of an ``.onnx`` file or of a folder that was exported from one.

    Raises:
        InputError: The file is none of these.
    """
    if model.is_file() and ending(model) == STUDENT:
        with extra("train"):  # an exported graph needs no exporter
            from vadistill.inference.onnx_graph import to_onnx

        return openvino.Core().read_model(to_onnx(model))
    try:
        return openvino.Core().read_model(model / GRAPH if model.is_dir() else model)
    except RuntimeError as error:
        raise InputError(f"{model}: OpenVINO cannot read it; expected a student or an export of one") from error


def description_of(graph: openvino.Model, model: Path) -> Description:
    """Return the description inside a graph that was read from ``model``.

    Raises:
        InputError: There is none.
    """
    return Description.read(model, graph.get_rt_info(KEPT).astype(str) if graph.has_rt_info(KEPT) else None)


def describe(graph: openvino.Model, description: Description) -> None:
    """Put a description into a graph, where ``description_of`` finds it."""
    graph.set_rt_info(description.text(), KEPT)


def save(graph: openvino.Model, folder: Path, half: bool) -> None:
    """Write a graph into a folder, with ``half`` its weights in 16 bits."""
    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=half)


def quantised(graph: openvino.Model, calibration: Sequence[np.ndarray]) -> openvino.Model:
    """Return the graph with 8-bit convolutions, the ranges of its features found on some frames.

    Attention's own products and the heads stay in floating point: they are a small part of the work, and the heads make
    the scores.

    Args:
        graph: In float32.
        calibration: Windows of training frames, (C, H, W) uint8; a hundred or more.

    Raises:
        InputError: There are none.
    """
    if not len(calibration):
        raise InputError(
            "8 bits: no calibration frames; expected windows of training frames ('vadistill export' takes them: "
            "--precision int8 --frames)"
        )
    with extra("train"):  # imported only here: it changes torch
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        return nncf.quantize(
            graph,
            nncf.Dataset([np.ascontiguousarray(frames)[None] for frames in calibration]),
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=_kept_in_float(graph)),
            # Weights get half their range: processors with AVX2 and no VNNI add pairs of products in 16 bits, which the
            # whole range overflows. Nothing is cut: to lie beyond the usual range is what makes an anomaly.
            advanced_parameters=AdvancedQuantizationParameters(
                overflow_fix=OverflowFix.ENABLE, activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )


def _kept_in_float(graph: openvino.Model) -> list[str]:
    """Return the names of the layers that make the scores and of the products without weights, those of attention."""
    names = []
    for node in graph.get_ordered_ops():
        if node.get_type_name() in ("Convolution", "MatMul"):
            weight = node.input_value(1).get_node()
            if weight.get_friendly_name().startswith(SCORES) or weight.get_type_name() != "Constant":
                names.append(node.get_friendly_name())
    return names
