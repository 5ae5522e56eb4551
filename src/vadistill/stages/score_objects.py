"""Rule score_objects: a trained teacher, frames and detections of a shard in, a score for every object out."""

import json
import logging
import time

import numpy as np
import torch

from vadistill.data import object_scores
from vadistill.data.detections import Detections, read_objects
from vadistill.data.frames import FrameStore
from vadistill.data.objects import batches_of_clip, frame_stores
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


def score_clip(teacher: Teacher, store: FrameStore, clip: Detections, device) -> object_scores.ObjectScores:
    """Score every object of one clip."""
    terms = [np.zeros((0, len(teacher.terms)), np.float32)]
    for batch in batches_of_clip(store, clip, teacher.scoring_crops(), BATCH):
        terms.append(teacher.score({key: value.to(device) for key, value in batch.items()}).cpu().numpy())
    joined = np.concatenate(terms)
    score = teacher.combine(torch.from_numpy(joined)).numpy()
    if not np.isfinite(score).all():
        raise InputError(f"clip {clip.clip}: the teacher {teacher.name} gives scores that are not finite")
    return object_scores.ObjectScores(clip.clip, clip.frames, clip.size, clip.frame, clip.box, joined, score)


def main(args) -> None:
    """Score every object of the given detections."""
    model, device = load_model(args.model, args.teacher), pick_device()
    teacher = build(args.teacher, section(args.teacher, json.loads(model["settings"])), len(model["classes"]))
    teacher.load_state_dict(model["weights"])
    teacher.to(device).eval()
    stores = frame_stores(args.frames)
    with writing(args.output) as file:
        file.attrs.update(teacher=args.teacher, terms=teacher.terms, model_settings=model["settings"])
        file.attrs["settings"] = canonical(args.settings)
        detector = {"weights_sha256": str(attribute(args.detections[0], "weights_sha256")),
                    "settings": json.loads(attribute(args.detections[0], "settings"))}  # fmt: skip
        file.attrs["detector"] = canonical(detector)
        for clip in read_objects(args.detections, section("objects", args.settings["objects"])):
            if clip.clip not in stores:
                raise InputError(f"clip {clip.clip}: detections without frames")
            started = time.monotonic()
            object_scores.write_clip(file, score_clip(teacher, stores[clip.clip], clip, device))
            rate = len(clip) / (time.monotonic() - started)
            log.info("clip %s: %d objects, %.0f objects/s", clip.clip, len(clip), rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "model", "output", many=("frames", "detections"))
    run(main, arguments)
