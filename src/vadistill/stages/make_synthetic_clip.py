"""Rule make_synthetic_clip: a normal training clip in, the clip with one synthetic anomaly out, and where that is."""

import hashlib
import logging

import numpy as np

from vadistill.datasets.splits import first_held_out, scene_of
from vadistill.datasets.synthetic.anomalies import Degree, plan
from vadistill.datasets.synthetic.normal_clip import NormalClip
from vadistill.datasets.synthetic.tracks import feet
from vadistill.detection.objects import read_objects
from vadistill.errors import InputError
from vadistill.io.files import whole_stream
from vadistill.io.frames import FrameStore, write_images
from vadistill.settings import ObjectsConfig, section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def normal_clip(args, store: FrameStore) -> NormalClip:
    """Return the training clip with its objects and, for a misplaced one, where objects stood in clips of its scene."""
    # Which boxes count is fixed here: the yardstick shall not move with the settings that are chosen by it.
    settings = ObjectsConfig(scene=args.settings["scene"])
    scene, misplaced = scene_of(store.clip, settings.scene), args.settings["kind"] == "misplaced"

    def wanted(name: str) -> bool:
        return name == store.clip or (misplaced and scene_of(name, settings.scene) == scene)

    read = {clip.clip: clip for clip in read_objects(args.detections, settings, wanted=wanted)}
    if store.clip not in read:
        raise InputError(
            f"{args.detections[0]}: no clip {store.clip} in {len(args.detections)} files; expected its detections"
        )
    objects = read[store.clip]
    found, expected = (objects.frames, *objects.size), (len(store), store.height, store.width)
    if found != expected:
        raise InputError(f"detections of clip {store.clip} have (frames, height, width) {found}; expected {expected}")
    usable = range(*(first_held_out(start, len(store)) for start in args.settings["part"]))
    places = np.concatenate([feet(clip.box) for clip in read.values() if clip.size == objects.size])
    return NormalClip(objects.frame, objects.box, objects.size, usable, store.read, places)


def main(args) -> None:
    """Plan the anomaly, write where it is, and the frames one after another."""
    store, settings = FrameStore(args.frames), args.settings
    made_of, frames = section(args.split, settings[args.split]), section("frames", settings["frames"])
    kind = settings["kind"]
    name = int.from_bytes(hashlib.sha256(f"{kind} {store.clip}".encode()).digest()[:8], "big")
    clip = normal_clip(args, store)
    try:
        degree = Degree(made_of.share, made_of.pace, made_of.haste)
        made = plan(kind, clip, made_of.frames, degree, np.random.default_rng([made_of.seed, name]))
    except InputError as error:
        raise InputError(f"clip {store.clip}: {error}") from error
    with whole_stream(args.boxes) as stream:
        np.save(stream, made.boxes)
    images = (made.render(t, store.read(source)) for t, source in enumerate(made.source))
    count = write_images(
        args.output, args.clip, args.split, images, frames.encoding, frames.quality, store.fingerprint, store.fps
    )
    log.info("%s: %s in %d of %d frames", args.clip, kind, made.boxes.any((1, 2)).sum(), count)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "frames", "output", "boxes", many=("detections",))
    arguments.add_argument("--clip", required=True)
    arguments.add_argument("--split", required=True, choices=["validation", "synthetic"])
    run(main, arguments)
