"""What a user of an exported student must know of it, kept inside the exported file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vadistill.errors import InputError
from vadistill.inference.backend import BatchScores
from vadistill.settings import DETECTORS, canonical
from vadistill.windows.shape import NO_FLOW, check_flow, window_shape
from vadistill.windows.training_conditions import Conditions

if TYPE_CHECKING:  # it brings torch, which an exported student does not need
    from vadistill.frame_level.base import FrameLevelDetector

KEY = "vadistill"  # of the description among a file's metadata
GRAPH, WEIGHTS = "model.xml", "model.bin"  # in the folder of an OpenVINO graph
PIECE_PIXELS = 300_000  # a runtime is given at once: more leave the caches of a processor


@dataclass(frozen=True)
class Description:
    """A student's input and output.

    Attributes:
        size: Height and width of its input in pixels.
        offsets: Of the frames in its input from the judged one.
        flow: Preset of the flow in its input, or ``none``.
        resolutions: Sides g of its maps.
        precision: Of its weights: ``fp32``, ``fp16`` or ``int8``.
        settings: It was trained with.
    """

    size: tuple[int, int]
    offsets: tuple[int, ...]
    resolutions: tuple[int, ...]
    precision: str
    settings: dict[str, Any]
    flow: str = NO_FLOW

    @classmethod
    def of(cls, detector: "FrameLevelDetector") -> "Description":
        """Return the description of a trained detector as it is stored: in float32."""
        return cls(detector.size, detector.offsets, detector.resolutions, "fp32", detector.settings, detector.flow)

    @classmethod
    def read(cls, path: Path, text: str | None) -> "Description":
        """Return the description that an exported file holds under ``KEY``.

        Raises:
            InputError: It holds none, a damaged one, or that of a student of another flow (``check_flow``).
        """
        if text is None:
            raise InputError(f"{path}: holds no description of a student; expected what 'vadistill export' writes")
        try:
            content = json.loads(text)
            made = cls(**{**content, **{name: tuple(content[name]) for name in ("size", "offsets", "resolutions")}})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: its description is damaged ({error}); expected what 'vadistill export' writes"
            ) from error
        check_flow(path, made.flow, made.settings)
        return made

    @property
    def conditions(self) -> Conditions | None:
        """Return how the clips were filmed that it was trained on; None where the model does not say."""
        return Conditions.read(self.settings)

    @property
    def detector(self) -> str:
        """Return the name of the frame-level detector: that of the section among its settings."""
        return next((name for name in DETECTORS if name in self.settings), "student")

    def text(self) -> str:
        """Return what ``read`` reads."""
        return canonical(asdict(self))

    @property
    def window(self) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of its input."""
        return window_shape(self.size, self.offsets, self.flow)

    @property
    def piece(self) -> int:
        """Return how many frames a processor should be given at once: 1, 2, 4 or 8."""
        fitting = PIECE_PIXELS // (self.size[0] * self.size[1])
        return 1 << min(max(fitting, 1), 8).bit_length() - 1

    @property
    def outputs(self) -> list[str]:
        """Return the names of an exported graph's outputs."""
        return ["score", *(f"map_{g}" for g in self.resolutions)]

    def checked(self, windows: np.ndarray) -> np.ndarray:
        """Return the windows as every runtime takes them, contiguous and writable.

        Raises:
            ValueError: They are not (N, C, H, W) uint8.
        """
        if windows.dtype != np.uint8 or windows.ndim != 4 or windows.shape[1:] != self.window:
            raise ValueError(
                f"expected windows (N, {', '.join(map(str, self.window))}) uint8, got {windows.shape} {windows.dtype}"
            )
        return np.require(windows, requirements=("C", "W"))

    def scores(self, parts: list[list[np.ndarray]]) -> BatchScores:
        """Return the outputs of consecutive pieces, each [score, maps ...], as those of the whole."""
        empty = [np.empty((0, *shape), np.float32) for shape in ((), *((g, g) for g in self.resolutions))]
        score, *maps = (np.concatenate(made) for made in zip(empty, *parts, strict=True))
        return BatchScores(score, dict(zip(self.resolutions, maps, strict=True)))


def is_onnx_export(path: Path) -> bool:
    """Return whether a file is an ONNX file with a description in it; no runtime is needed to tell."""
    # Metadata in protobuf: field 1 is the key, field 2 the value, each behind its tag and, here, its length.
    return path.is_file() and b"\n%c%s\x12" % (len(KEY), KEY.encode()) in path.read_bytes()


def is_openvino_export(folder: Path) -> bool:
    """Return whether a folder holds an OpenVINO graph with a description in it and nothing else, or nothing at all."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    if not names:
        return True
    return names == {GRAPH, WEIGHTS} and f"<{KEY} ".encode() in (folder / GRAPH).read_bytes()
