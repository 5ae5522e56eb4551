"""A trained student as an ONNX graph."""

import logging
import warnings
from pathlib import Path

import torch

from vadistill.extras import extra
from vadistill.frame_level.registry import load_network
from vadistill.inference.description import KEY, Description

with extra("train"):
    import onnx  # noqa: F401 (torch's exporter needs it and would say so in many lines)
    import onnxscript  # noqa: F401


def to_onnx(model: Path) -> bytes:
    """Return a trained student as an ONNX model of any batch size, its description among the metadata.

    Input ``frames`` (N, C, H, W) uint8; outputs ``score`` (N,) and ``map_<g>`` (N, g, g) float32.

    Raises:
        InputError: The file is no trained detector, or its network is no graph.
    """
    detector, network = load_network(model, torch.device("cpu"), streamlined=torch.float32, graph=True)
    description = Description.of(detector)
    for name in ("onnx_ir", "onnxscript"):  # a line for every constant that is joined, every rule that does not apply
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch's exporter has to say is about torch
        program = torch.onnx.export(
            network,
            (torch.zeros(2, *description.window, dtype=torch.uint8),),
            input_names=["frames"],
            output_names=description.outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # with dynamo
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, description.text()
    return proto.SerializeToString()
