"""Rule score_objects: a trained teacher, frames and detections of a shard in, a score for every object out."""

import json
import logging
import time
from pathlib import Path

import numpy as np

from vadistill.data import object_scores
from vadistill.data.detections import Detections, read_objects
from vadistill.data.frames import FrameStore
from vadistill.data.objects import batches_of_clip, frame_stores, scene_index
from vadistill.data.store import attribute, writing
from vadistill.errors import InputError
from vadistill.machine import pick_device
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.teachers import build
from vadistill.teachers.base import Teacher
from vadistill.training import load_model

log = logging.getLogger(__name__)
BATCH = 128  # objects


def score_clip(teacher: Teacher, store: FrameStore, clip: Detections, scenes: list[str], device) -> tuple:
    """Return the scores of every object of one clip, and how many stand where no training object stood."""
    terms, outside = [np.zeros((0, len(teacher.terms)), np.float32)], 0
    for batch in batches_of_clip(store, clip, teacher.scoring_crops(), scene_index(scenes, clip.scene), BATCH):
        batch = {key: value.to(device) for key, value in batch.items()}
        terms.append(teacher.score(batch).cpu().numpy())
        outside += int(teacher.outside(batch).sum())
    joined = np.concatenate(terms)
    if not np.isfinite(joined).all():
        raise InputError(f"clip {clip.clip}: the teacher {teacher.name} gives scores that are not finite")
    made = object_scores.ObjectScores(clip.clip, clip.frames, clip.size, clip.scene, clip.frame, clip.box, joined)
    return made, outside


def main(args) -> None:
    """Score every object of the given detections."""
    model, device = load_model(args.model, args.teacher), pick_device()
    settings, scenes = section(args.teacher, json.loads(model["settings"])), model["scenes"]
    teacher = build(args.teacher, settings, len(model["classes"]), len(scenes))
    teacher.load_state_dict(model["weights"])
    teacher.to(device).eval()
    stores = frame_stores(args.frames)
    with writing(args.output) as file:
        file.attrs.update(teacher=args.teacher, terms=teacher.terms, counted=teacher.counted)
        file.attrs.update(probabilities=teacher.probabilities or np.zeros(0, "S1"))
        file.attrs.update(model_settings=model["settings"], settings=canonical(args.settings))
        detector = {"weights_sha256": str(attribute(args.detections[0], "weights_sha256")),
                    "settings": json.loads(attribute(args.detections[0], "settings"))}  # fmt: skip
        file.attrs["detector"] = canonical(detector)
        for clip in read_objects(args.detections, section("objects", args.settings["objects"]), args.moving):
            if clip.clip not in stores:
                raise InputError(f"clip {clip.clip}: detections without frames")
            started = time.monotonic()
            scored, outside = score_clip(teacher, stores[clip.clip], clip, scenes, device)
            object_scores.write_clip(file, scored)
            rate = len(clip) / (time.monotonic() - started)
            log.info("clip %s: %d objects, %.0f objects/s", clip.clip, len(clip), rate)
            if outside:
                log.warning("clip %s: %d of %d objects stand where no training object stood; the table of the nearest "
                            "place is used", clip.clip, outside, len(clip))  # fmt: skip


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "model", "output", many=("frames", "detections"))
    arguments.add_argument("--moving", type=Path, nargs="*", default=[])
    run(main, arguments)
