"""What has gone wrong in a run although nothing failed: dead maps, discriminators that tell the student nothing."""

from collections.abc import Mapping

import numpy as np

from vadistill.evaluation.metrics import FrameScores

DEAD = 0.01  # cells below this
DEAD_SHARE = 0.95  # of the cells with an object
BLIND = 0.01  # difference of the mean judgements of real and made maps
GUESSING, ALWAYS_RIGHT = 0.55, 0.999  # accuracy


def complaints_of_training(metrics: Mapping[str, float]) -> list[str]:
    """Return what is wrong with an epoch of distillation, a line each.

    Args:
        metrics: Of ``losses.map_statistics`` and ``losses.discriminator_loss``, means of the epoch.
    """
    found = []
    for name, value in metrics.items():
        side = name.removeprefix("object_cells_")
        if side != name and value and (share := metrics[f"dead_cells_{side}"] / value) >= DEAD_SHARE:
            found.append(f"the student's {side} maps are dead: below {DEAD} in {share:.0%} of the cells with an object")
        if not name.startswith("discriminator_accuracy_"):
            continue
        teacher = name.removeprefix("discriminator_accuracy_")
        apart = abs(metrics[f"discriminator_real_{teacher}"] - metrics[f"discriminator_fake_{teacher}"])
        if value <= GUESSING and apart < BLIND:
            found.append(f"the discriminator of {teacher} has collapsed: it judges real and made maps alike")
        elif value >= ALWAYS_RIGHT:
            found.append(f"the discriminator of {teacher} is always right: the student learns nothing from it")
    return found


def complaints_of_maps(name: str, maxima: Mapping[int, FrameScores]) -> list[str]:
    """Return what is wrong with the maps of a detector, a line a resolution.

    Args:
        name: Of the detector.
        maxima: Maximum (T,) of each clip's maps, by resolution.
    """
    found = []
    for side, by_clip in maxima.items():
        values = np.concatenate([*by_clip.values(), np.zeros(0)])
        if not (values >= DEAD).any():
            found.append(f"the {side}x{side} maps of {name} are dead: below {DEAD} in all of {len(values)} frames")
        elif np.ptp(values) == 0:
            found.append(f"the {side}x{side} maps of {name} have the same maximum in all of {len(values)} frames")
    return found
