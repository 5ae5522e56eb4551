"""Rule score_objects: a trained teacher, frames and detections of a shard in, each object's terms out."""

import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from vadistill.detection.objects import read_objects
from vadistill.io import object_scores
from vadistill.io.frames import frame_stores
from vadistill.io.hdf5 import attribute, json_attribute, write_attributes, writing
from vadistill.io.object_flow import flow_stores
from vadistill.processors import cores
from vadistill.settings import canonical, section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run
from vadistill.teachers.base import Teacher
from vadistill.teachers.loader import batches_of_clips
from vadistill.teachers.registry import build
from vadistill.training.checkpoint import drop_state, fitting, load_model
from vadistill.training.device import moved, pick_device

log = logging.getLogger(__name__)
BATCH = 128  # objects


def scored_clips(teacher: Teacher, batches, device) -> Iterator[tuple[object_scores.ObjectScores, int]]:
    """Yield what is known of each clip's objects as it ends, and how many stand where no training object stood."""
    judged: dict[str, list] = defaultdict(list)
    outside: Counter[str] = Counter()
    for clip, batch in batches:
        if batch is not None:
            batch = {key: moved(value, device) for key, value in batch.items()}
            judged[clip.clip].append(teacher.score(batch).cpu().numpy())
            outside[clip.clip] += int(teacher.unseen_place(batch).sum())
            continue
        terms = np.concatenate(judged.pop(clip.clip, [np.zeros((0, len(teacher.terms)))]))
        fields = (clip.clip, clip.frames, clip.size, clip.scene, clip.frame, clip.box, terms)
        yield object_scores.ObjectScores(*fields), outside[clip.clip]


def main(args) -> None:
    """Score every object of the given detections."""
    model, device = load_model(args.model, args.teacher), pick_device()
    with fitting(args.model):
        settings, scenes = section(args.teacher, json.loads(model["settings"])), model["scenes"]
        teacher = build(args.teacher, settings, len(model["classes"]), len(scenes))
        teacher.load_state_dict(model["weights"])
    teacher.to(device).eval()
    drop_state(args.model)
    with writing(args.output) as file:
        write_attributes(file, teacher=args.teacher, terms=teacher.terms, counted=teacher.score_terms)
        write_attributes(file, probabilities=teacher.probabilities or np.zeros(0, "S1"))
        write_attributes(file, model_settings=model["settings"], settings=canonical(args.settings))
        detector = {"weights_sha256": str(attribute(args.detections[0], "weights_sha256")),
                    "settings": json_attribute(args.detections[0], "settings")}  # fmt: skip
        write_attributes(file, detector=canonical(detector))
        clips = read_objects(args.detections, section("objects", args.settings["objects"]), args.moving)
        stores, kept = frame_stores(args.frames), flow_stores(args.flow, settings.flow)
        batches = batches_of_clips(stores, clips, teacher.scoring_crops(), scenes, BATCH, cores(), kept)
        started, total = time.monotonic(), 0
        for scored, outside in scored_clips(teacher, batches, device):
            object_scores.write_clip(file, scored)
            count = len(scored.frame)
            total += count
            rate = total / (time.monotonic() - started)
            log.info("clip %s: %d objects, %.0f objects/s so far", scored.clip, count, rate)
            if outside:
                log.warning("clip %s: %d of %d objects stand where no training object stood; the table of the nearest "
                            "place is used", scored.clip, outside, count)  # fmt: skip


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "model", "output", many=("frames", "detections"))
    add_optional_paths(arguments, "moving", "flow")
    run(main, arguments)
