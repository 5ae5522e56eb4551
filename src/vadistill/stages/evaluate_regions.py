"""Rules evaluate_regions, evaluate_detector_regions: maps, objects, masks or tracks in, localisation.json out."""

import logging
from collections import defaultdict
from dataclasses import asdict, replace

from vadistill.evaluation.auc_tables import percent
from vadistill.evaluation.ground_truth import Located, located_clips
from vadistill.evaluation.localisation import MADE, PixelCounts
from vadistill.evaluation.localisation_json import DetectorRegions, LocalisationResult
from vadistill.evaluation.rbdc_tbdc import ALPHA, BETA, Regions, Tracks, rbdc_and_tbdc
from vadistill.evaluation.results import Detectors, read_teachers
from vadistill.io.files import write_json
from vadistill.io.frames import frame_stores
from vadistill.io.json_records import ABSENT
from vadistill.io.maps import MapStore
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)


def criteria(
    tracks: dict[str, Tracks], regions: dict[str, Regions], frames: int, pixels: PixelCounts | None
) -> DetectorRegions:
    """Return RBDC and TBDC, None where no clip has an abnormal region, and the AUC of pixels that were counted."""
    pixel_auc = ABSENT if pixels is None else pixels.auc()
    if not any(len(part.track) for part in tracks.values()):
        return DetectorRegions(rbdc=None, tbdc=None, pixel_auc=pixel_auc)
    made = rbdc_and_tbdc(tracks, regions, frames)
    return DetectorRegions(rbdc=made.rbdc, tbdc=made.tbdc, pixel_auc=pixel_auc)


def main(args) -> None:
    """Compare where a frame-level detector, and its teachers, see anomalies with where they are."""
    settings = section("localisation", args.settings["localisation"])
    teachers = read_teachers(args.objects, args.maps, args.calibrations)
    maps, normal = MapStore([args.scores]), MapStore([args.normal])
    detectors = Detectors(args.detector, maps, normal, teachers, settings)
    sizes = {clip: (len(store), store.height, store.width) for clip, store in frame_stores(args.frames).items()}
    located: list[Located] = []
    regions: dict[str, dict[str, Regions]] = defaultdict(dict)
    pixels: dict[str, PixelCounts] = {}
    for truth in located_clips(args.settings["layout"], args.settings["path"], sizes, settings.tracks):
        for name, found in detectors.regions(truth.clip, sizes[truth.clip][1:]):
            regions[name][truth.clip] = found
        if truth.mask is not None:
            detectors.count_pixels(pixels, truth.clip, truth.mask)
        located.append(replace(truth, mask=None))
        log.info("clip %s: %d tracks", truth.clip, truth.tracks.count)
    tracks, frames = {clip.clip: clip.tracks for clip in located}, sum(clip.frames for clip in located)
    detected = {name: criteria(tracks, by_clip, frames, pixels.get(name)) for name, by_clip in regions.items()}
    for name, made in detected.items():
        log.info("%s: RBDC %s, TBDC %s", name, percent(made.rbdc), percent(made.tbdc))
    result = LocalisationResult(
        truth=settings.tracks or MADE,
        clips=len(located),
        frames=frames,
        tracks=sum(part.count for part in tracks.values()),
        regions=sum(len(part.track) for part in tracks.values()),
        frames_whose_label_and_mask_differ={clip.clip: clip.differing for clip in located if clip.differing},
        alpha=ALPHA,
        beta=BETA,
        map_threshold=detectors.threshold,
        settings=asdict(settings),
        detectors=detected,
    )
    write_json(args.output, result.content())


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--detector", required=True)
    add_paths(arguments, "scores", "normal", "output", many=("frames",))
    add_optional_paths(arguments, "objects", "maps", "calibrations")
    run(main, arguments)
