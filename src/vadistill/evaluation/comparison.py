"""Frame-level detectors side by side: the AUC of each, and how far it is from the first one on the same clips."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from vadistill.evaluation.auc_json import AucWithIntervals
from vadistill.evaluation.fusion import mean_ranks
from vadistill.evaluation.localisation_json import DetectorRegions
from vadistill.evaluation.metrics import FrameLabels, FrameScores
from vadistill.evaluation.protocols import difference, frame_auc_with_intervals

KEYS = ("micro_auc", "macro_auc", "micro_interval", "macro_interval")


@dataclass(frozen=True)
class Compared:
    """One score among several of the same clips.

    Attributes:
        group: ``detector``, ``together``, ``teacher`` or ``trivial``.
        name: What made it.
        auc: Its micro and macro AUC, with 95 % intervals over clips.
        ahead: The same minus those of the first detector, of the same draws; None of the first one itself.
        regions: Whether it finds anomalies in their places; None where this is unknown.
    """

    group: str
    name: str
    auc: AucWithIntervals
    ahead: AucWithIntervals | None
    regions: DetectorRegions | None = None


def compared(
    detectors: Mapping[str, FrameScores],
    others: Mapping[tuple[str, str], FrameScores],
    labels: FrameLabels,
    sigma: float,
    regions: Mapping[tuple[str, str], DetectorRegions],
) -> list[Compared]:
    """Return the detectors, the mean ranks of every two of them, and the others, each against the first detector.

    Args:
        detectors: Frame scores (T,) of each clip, by detector.
        others: Those of teachers and of scores that need no model, by group and name.
        labels: Frame labels (T,) of each clip.
        sigma: Of the smoothing, in frames.
        regions: What is known of places, by group and name.
    """
    together = {
        ("together", " + ".join(names)): mean_ranks(detectors[name] for name in names)
        for names in combinations(detectors, 2)
    }
    own = {("detector", name): scores for name, scores in detectors.items()}
    first = next(iter(detectors.values()))
    made = []
    for (group, name), scores in {**own, **together, **others}.items():
        found = frame_auc_with_intervals(scores, labels, sigma)
        ahead = None if scores is first else difference(scores, first, labels, sigma)
        own_auc = AucWithIntervals(**{key: found[key] for key in KEYS})
        made.append(Compared(group, name, own_auc, ahead, regions.get((group, name))))
    return made
