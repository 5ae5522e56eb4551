"""A packed student for another camera, from normal video and without training.

What is usual at each place of its maps, its thresholds and the usual view are found anew.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from safetensors.numpy import save

from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import Alarms, fit_alarms
from vadistill.evaluation.metrics import FrameScores
from vadistill.frame_level.packed import (
    ALARMS,
    CARD,
    DETECTOR,
    MANIFEST,
    PLACES,
    VIEW,
    PackedDetector,
    ScoringDefaults,
    is_packed,
    replaceable,
)
from vadistill.inference.backend import Backend
from vadistill.inference.backends import backend_for, load_backend
from vadistill.inference.manifest import write_manifest
from vadistill.inference.model_card import adapted_card
from vadistill.inference.model_files import STARTER, located
from vadistill.inference.places import PlaceStatistics, PlaceSums
from vadistill.inference.progress import with_progress
from vadistill.inference.scoring import check_rate, matched_offsets, with_warning
from vadistill.inference.sources import source_name
from vadistill.inference.stream import StreamTimes, score_video, source_rate
from vadistill.inference.view import ONE_VIEW, Background, NormalView, ViewSampler
from vadistill.io.files import sha256, whole_folder, write_json
from vadistill.io.formats import refuse_to_replace
from vadistill.settings import AlarmsConfig

log = logging.getLogger(__name__)
STRETCH = 20.0  # seconds of normal video whose places are found by turns with others
FRAMES_AT_ONCE = 1024  # whose maps are read back from the disk
STUDENT = "student"
SAME_RATE = 0.02  # relative difference of frame rates that are taken for equal


@dataclass(frozen=True)
class NormalVideo:
    """What a detector says of normal video of a camera.

    Attributes:
        scores: {name of a video: (T,) frame scores}, by what is usual at each place.
        rate: Frames a second.
        view: What the camera usually shows, a picture of 90x160 pixels among it.
        places: Mean and spread of each cell of the maps, {g: (g, g)}.
    """

    scores: FrameScores
    rate: float
    view: NormalView
    places: PlaceStatistics


def adapt(
    packed: Path,
    videos: Sequence[Path],
    folder: Path,
    backend: str | None = None,
    every: int | None = None,
    match_rate: bool | None = None,
) -> Alarms:
    """Write a packed detector with what is usual at each place, thresholds and view of another camera, whole or not.

    Args:
        packed: What ``vadistill pack`` or ``adapt`` wrote, or ``starter``.
        videos: Normal videos of the other camera.
        folder: To be written; one that was packed or adapted earlier is replaced.
        backend: A key of ``inference.backends.BACKENDS``; by default the folder's best.
        every: Every so many frames one is scored, here and whenever the folder is used; by default as ``packed``.
        match_rate: Whether a window's frames lie as far apart in time as in training; likewise.

    Returns:
        The thresholds.

    Raises:
        InputError: The folder is no packed student, a video cannot be read or does not say its frames a second, the
            videos do not show one view at one rate, or ``folder`` cannot be written.
    """
    packed = located(packed)
    source = PackedDetector.open(packed, compare=False)
    _check_target(source.folder, folder)
    _check_names(videos)
    model, usual = load_backend(backend or backend_for(packed), packed), source.scoring()
    scoring = ScoringDefaults(
        usual.every if every is None else every, usual.match_rate if match_rate is None else match_rate
    )
    if model.detector != STUDENT:
        raise InputError(f"{packed}: holds the detector '{model.detector}'; expected a student: no other one adapts")
    if "surprise" in source.detector().settings:
        raise InputError(
            f"{packed}: knows what is usual on its own camera, which tells nothing of another; expected one with "
            "surprise.weight and surprise.motion_weight 0, which needs no new training, or the starter"
        )
    check_rate(model, scoring.match_rate)
    found = watched(videos, model, scoring, folder.absolute().parent)
    alarms = fit_alarms(model.detector, found.scores, found.rate, _settings(source.alarms()))
    _write(source, folder, found, alarms, scoring)
    return alarms


def watched(
    videos: Sequence[Path], model: Backend, scoring: ScoringDefaults, folder: Path | None = None
) -> NormalVideo:
    """Return what a detector says of normal videos of one camera.

    Scores are measured by places of other stretches of ``STRETCH`` seconds than their own, every second one of them, so
    that thresholds are not found on the very frames that the places were: those would be a little too low.

    Args:
        videos: The videos.
        model: The detector.
        scoring: How they are scored.
        folder: Where maps wait until all videos have been seen, about a kilobyte a frame; by default the system's.

    Raises:
        InputError: A video cannot be read or does not say its frames a second, or they show several views or differ in
            their rates.
    """
    rates = {source_name(video): _rate(video) for video in videos}
    rate = _one_rate(rates)
    stretch, seen = max(1, round(STRETCH * rate)), 0
    sums, whole, first, files = (PlaceSums(), PlaceSums()), ViewSampler(), None, dict[str, Any]()
    with ExitStack() as stack:
        for video in videos:
            name, own, frames = source_name(video), ViewSampler(), 0
            files[name] = stack.enter_context(TemporaryFile(dir=folder))
            for maps in _maps(video, rates[name], model, scoring, (own, whole)):
                count = len(next(iter(maps.values())))
                turns = _turns(seen, count, stretch)
                for turn, one in enumerate(sums):
                    one.add({g: grid[turns == turn] for g, grid in maps.items()})
                files[name].write(np.concatenate([maps[g].reshape(count, -1) for g in model.resolutions], 1))
                seen += count
                frames += count
            if 1 < frames <= scoring.every:
                raise InputError(
                    f"{video}: {frames} frames, so every {scoring.every}th is one; expected a lower `every`"
                )
            first = _same_view(first, name, own, video)
        by_turn, begun = _by_turn(sums), 0
        scores: FrameScores = {}
        for name, file in files.items():
            parts = [*_scores(file, by_turn, model.resolutions, begun, stretch)]
            scores[name] = np.concatenate(parts)
            begun += len(scores[name])
    return NormalVideo(scores, rate, whole.view(), (sums[0] + sums[1]).statistics())


def _turns(start: int, count: int, stretch: int) -> np.ndarray:
    """Return 0 or 1 (count,) for frames from ``start`` on: in stretches by turns."""
    return (start + np.arange(count)) // stretch % 2


def _by_turn(sums: tuple[PlaceSums, PlaceSums]) -> tuple[PlaceStatistics, PlaceStatistics]:
    """Return the places by which the frames of each turn are measured: those of the other one, where it has frames."""
    if not sums[1].count:
        return (sums[0].statistics(),) * 2
    return sums[1].statistics(), sums[0].statistics()


def _same_view(
    first: tuple[str, Background] | None, name: str, sampler: ViewSampler, video: Path
) -> tuple[str, Background]:
    """Compare what a video shows with the first one; return the first one."""
    try:
        picture = sampler.view().background
    except InputError as error:
        raise InputError(f"{video}: {error}") from error
    if first is None:
        return name, Background(picture)
    likeness = first[1].likeness(picture)
    if likeness < ONE_VIEW:
        raise InputError(
            f"videos {first[0]} and {name} show different views (likeness {likeness:.2f}; of one view {ONE_VIEW} or "
            "more); expected those of one camera"
        )
    return first


def _check_target(source: Path, folder: Path) -> None:
    """Refuse what cannot be written, before hours of work."""
    if folder.resolve() == source.resolve():
        raise InputError(f"{folder}: the folder that is adapted; expected a new one")
    if folder.name == STARTER:
        raise InputError(f"{folder}: would go before the package's own starter; expected another name")
    above = next((part for part in folder.absolute().parents if is_packed(part)), None)
    if above:
        raise InputError(f"{folder}: lies in the packed detector {above}; expected a folder of its own")
    refuse_to_replace(folder, replaceable, "packed detector, or holds other files, too")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder.absolute().parent).close()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); expected another place") from error


def _rate(video: Path) -> float:
    rate = source_rate(video)
    if not rate:
        raise InputError(f"{video}: states no frames a second; expected a video that does, for alarms a day")
    return rate


class _Samplers:
    """Gives every frame of a video to several samplers of a view."""

    def __init__(self, samplers: Sequence[ViewSampler]) -> None:
        self._samplers = samplers

    def wants(self, t: int) -> bool:
        return True

    def __call__(self, frame: np.ndarray | None) -> None:
        if frame is not None:
            for sampler in self._samplers:
                sampler(frame)


def _maps(
    video: Path, rate: float, model: Backend, scoring: ScoringDefaults, samplers: Sequence[ViewSampler]
) -> Iterator[dict[int, np.ndarray]]:
    """Yield maps {g: (N, g, g)} of successive frames; the samplers get every frame."""
    times, offsets = StreamTimes(), matched_offsets(video, rate, model) if scoring.match_rate else model.offsets
    parts = score_video(video, model, times=times, offsets=offsets, every=scoring.every, look=_Samplers(samplers))
    for part in with_progress(with_warning(parts, video, model, times, None if scoring.match_rate else rate), video):
        if not all(np.isfinite(grid).all() for grid in part.maps.values()):
            raise InputError(f"{video}: the detector gives maps that are not finite")
        yield part.maps
    log.info("%s: %s", video, times)


def _scores(
    file: Any, by_turn: tuple[PlaceStatistics, PlaceStatistics], resolutions: Sequence[int], start: int, stretch: int
) -> Iterator[np.ndarray]:
    """Yield frame scores (N,) of maps that wait in a file, of frames from ``start`` on."""
    file.seek(0)
    ends = np.cumsum([g * g for g in resolutions])
    while content := file.read(FRAMES_AT_ONCE * 4 * int(ends[-1])):
        cells = np.frombuffer(content, np.float32).reshape(-1, ends[-1])
        parts = zip(resolutions, np.split(cells, ends[:-1], 1), strict=True)
        maps = {g: part.reshape(-1, g, g) for g, part in parts}
        both = np.stack([places.scored(maps).score for places in by_turn])
        yield np.take_along_axis(both, _turns(start, len(cells), stretch)[None], 0)[0]
        start += len(cells)


def _check_names(videos: Sequence[Path]) -> None:
    names = [source_name(video) for video in videos]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{names.count(name)} videos are named '{name}'; expected different names")


def _one_rate(rates: dict[str, float]) -> float:
    """Return the frames a second of all videos.

    Raises:
        InputError: They differ.
    """
    ordered = sorted(rates, key=rates.__getitem__)
    slow, fast = rates[ordered[0]], rates[ordered[-1]]
    if fast > (1 + SAME_RATE) * slow:
        raise InputError(
            f"videos of {slow:g} ({ordered[0]}) and {fast:g} frames a second ({ordered[-1]}); expected one rate: adapt "
            "to those of one camera"
        )
    return rates[ordered[len(ordered) // 2]]


def _settings(known: Alarms | None) -> AlarmsConfig:
    """Return how alarms are raised and how often they may be false: as the detector knows it, or the defaults."""
    if known is None:
        return AlarmsConfig()
    return AlarmsConfig(
        false_alarms_per_day=tuple(part.false_alarms_per_day for part in known.thresholds.values()),
        smoothing=known.smoothing_s,
        release=known.release,
        cool_down=known.cool_down_s,
    )


def _write(source: PackedDetector, folder: Path, found: NormalVideo, alarms: Alarms, scoring: ScoringDefaults) -> None:
    kept = sorted(source.files - {ALARMS, VIEW, PLACES, CARD, DETECTOR})
    detector = source.detector()
    adapted = {"videos": sorted(found.scores), "from_manifest": sha256(source.folder / MANIFEST)}
    detector = replace(detector, source={**detector.source, "adapted": adapted}, scoring=asdict(scoring))
    card = source.folder / CARD
    text = card.read_text(encoding="utf-8") if CARD in source.files else ""
    with whole_folder(folder) as made:
        for name in kept:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.folder / name, made / name)
        write_json(made / DETECTOR, detector.content())
        write_json(made / ALARMS, alarms.content())
        (made / VIEW).write_bytes(save(found.view.to_arrays()))
        (made / PLACES).write_bytes(save(found.places.to_arrays()))
        names = sorted(path.name for path in made.iterdir())
        (made / CARD).write_text(adapted_card(text, alarms, asdict(scoring), names), encoding="utf-8")
        write_manifest(made)
