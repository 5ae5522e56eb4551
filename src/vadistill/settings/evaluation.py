"""Settings of the evaluation: frame scores, localisation, the ablation."""

from dataclasses import dataclass

from vadistill.settings.fields import later, number, option, path


@dataclass(frozen=True)
class EvaluationConfig:
    """From frame scores to AUC."""

    filter_size: int = number(9, "side of the teachers' mean filter over frames, rows and columns of cells", 1)
    filter_cell: int = number(16, "side of its cells in pixels", 1)
    smoothing_sigma: float = number(21.0, "Gaussian over time, in frames; 0 leaves the scores as they are")


@dataclass(frozen=True)
class AlarmsConfig:
    """When a frame-level detector raises an alarm, and how often it may be wrong (fit_alarms)."""

    false_alarms_per_day: tuple[float, ...] = option(
        (1.0, 24.0, 240.0),
        "wanted at most, of one camera: a threshold for each, the first one being what `vadistill score` takes",
        minItems=1,
        uniqueItems=True,
        items={"exclusiveMinimum": 0},
    )
    smoothing: float = number(
        0.8, "standard deviation of the Gaussian over time, in seconds; 0 leaves the scores as they are"
    )
    release: float = number(
        0.7, "an alarm ends below this share of the way from the usual score to its threshold", 0, 1
    )
    cool_down: float = number(5.0, "seconds; alarms with less between them are one")
    fps: float = number(0.0, "frames a second of clips that do not say them; 0: none, and no thresholds")


@dataclass(frozen=True)
class LocalisationConfig:
    """RBDC, TBDC and the AUC of all pixels."""

    tracks: str = path("", "folder of <clip>.txt with tracks of abnormal regions; empty: they follow from pixel masks")
    map_share: float = number(
        0.6, "of the 99th percentile of training maps' maxima (median, where maps have no zero): regions lie above it"
    )
    map_peak_share: float = number(
        0.8,
        "of the highest value around: regions lie above this, too, where maps have a zero; 0: no such limit",
        0,
        1,
    )
    filter_cell: int = number(4, "side of the cells of the teachers' mean filter in pixels", 1)
    filter_cells: int = number(3, "rows and columns of cells that it averages; 1: none", 1)
    filter_frames: int = number(1, "frames that it averages; 1: none", 1)


@dataclass(frozen=True)
class AblationConfig:
    """The student, or SDMAE, with one thing changed at a time (compare_ablation and others)."""

    seeds: tuple[int, ...] = option(
        (0, 1, 2), "seeds of the distillation, or of SDMAE", minItems=1, uniqueItems=True, items={"minimum": 0}
    )
    epochs: int = number(0, "of pre-training and distillation, or of both phases of SDMAE; 0: as configured")
    judged: tuple[str, ...] = later(
        (),
        "what judge.csv has beside what is configured: variants of the student's ablation, or of the data set",
        uniqueItems=True,
    )
