"""Rule score_frames: a frame-level detector and the frames of a split in, frame scores and maps out."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.frame_level.registry import load_network
from vadistill.io import maps
from vadistill.io.frames import FrameStore
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.settings import canonical
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.checkpoint import drop_state
from vadistill.training.device import pick_device
from vadistill.windows.scoring import score_clips
from vadistill.windows.training_conditions import Conditions

log = logging.getLogger(__name__)


def unlike_training(paths: list[Path], settings: dict[str, Any]) -> list[str]:
    """Return in what clips differ from the training clips of a model, a line each difference."""
    conditions = Conditions.read(settings)
    if conditions is None:
        return []
    found: dict[str, list[str]] = {}
    for store in map(FrameStore, paths):
        for difference in conditions.differences((store.width, store.height), store.fps):
            found.setdefault(difference, []).append(store.clip)
    return [
        f"{len(clips)} of {len(paths)} clips ({', '.join(clips[:3])}{' ...' if clips[3:] else ''}) are unlike the "
        f"training clips: {difference}"
        for difference, clips in found.items()
    ]


def main(args) -> None:
    """Score every frame of the given clips."""
    device = pick_device(fixed_shapes=True)
    detector, network = load_network(args.model, device)
    drop_state(args.model)
    unlike = unlike_training(args.frames, detector.settings)
    for line in unlike:
        log.warning(line)
    warnings = [*detector.settings.get("warnings", []), *unlike]  # which auc.json repeats
    with writing(args.output) as file:
        write_attributes(file, model_settings=canonical({**detector.settings, "warnings": warnings}))
        started = time.monotonic()
        for store, (score, made) in score_clips(network, detector.windows(args.frames), device):
            rate = len(score) / (time.monotonic() - started)
            kept = {"fingerprint": store.fingerprint, "repaired": np.array(store.repaired, np.int64)}
            maps.write_clip(file, store.clip, made, score, **kept)
            log.info("clip %s: %d frames, %.1f frames/s", store.clip, len(score), rate)
            started = time.monotonic()


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "model", "output", many=("frames",))
    run(main, arguments)
