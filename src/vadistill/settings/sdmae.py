"""Settings of the self-distilled masked auto-encoder."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from vadistill.settings.fields import later, number, option


@dataclass(frozen=True)
class SdmaeConfig:
    """Frame-level detector: a masked auto-encoder with two decoders (arXiv 2306.12041), without teachers and boxes."""

    model: ClassVar[str] = "model.pt"
    score_keys: ClassVar[tuple[str, ...]] = (
        "score",
        "error_weight",
        "gap_weight",
        "abnormal_weight",
        "filter_tokens",
        "masks",
    )

    height: int = number(320, "input in pixels", 32)
    width: int = number(640, "input in pixels", 32)
    frame_step: int = number(3, "frames between the three input frames", 1)
    patch: int = number(16, "side of a token in pixels; height and width are multiples of it", 2)
    encoder_width: int = number(256, "channels of the encoder", 4)
    encoder_depth: int = number(3, "blocks of the encoder", 1)
    decoder_width: int = number(128, "channels of both decoders", 4)
    decoder_depth: int = number(3, "blocks of the first decoder; the second shares one and has another", 1)
    heads: int = number(4, "attention heads; widths are multiples of it", 1)
    masked: bool = later(True, "half of the tokens is hidden; or none is: a plain auto-encoder")
    motion_weights: bool = option(True, "tokens count by what moves in them, in place of evenly")
    synthetic_share: float = number(0.25, "training samples with a pasted anomaly", 0, 1)
    classifier_weight: float = number(1.0, "of the loss of the classifier of pasted anomalies; 0: none")
    epochs: int = number(100, "of encoder, first decoder and classifier", 1)
    second_epochs: int = number(40, "of the second decoder", 1)
    batch: int = number(100, "frames a step", 2)
    learning_rate: float = number(1e-4, "AdamW")
    weight_decay: float = number(0.05, "AdamW; none on biases and norms")
    frame_stride: int = number(1, "train on every n-th frame, another phase every epoch", 1)
    frame_run: int = later(
        1, "neighbouring frames drawn together, each image of them decoded once; 1: single frames", minimum=1
    )
    precision: Literal["auto", "float32"] = option(
        "auto", "bfloat16 where the hardware computes in it, or float32 everywhere"
    )
    seed: int = number(0, "initial weights, order, masks and pasted anomalies")
    score: Literal["paper", "released", "places"] = option(
        "paper",
        "weighted errors, gap and classifier, highest token; as the released code, mean error and gap; or, ours, errors"
        " and gap by what is usual at their place, highest token",
    )
    error_weight: float = number(0.4, "alpha: of the first decoder's error")
    gap_weight: float = number(0.3, "beta: of the gap between the decoders")
    abnormal_weight: float = number(0.3, "gamma: of the classifier's probability")
    filter_tokens: int = number(3, "side of the mean filter over tokens, odd", 1)
    masks: int = number(2, "masks whose maps are averaged when frames are scored; every second hides what is seen", 1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its input in pixels."""
        return self.height, self.width

    @property
    def tokens(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.height // self.patch, self.width // self.patch

    @property
    def offsets(self) -> tuple[int, ...]:
        """Distances of its input frames from the judged one."""
        return -self.frame_step, 0, self.frame_step
