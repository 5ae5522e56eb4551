"""Every reader of files: a whole file for it, what is read from it, and the damages that it is to be tried with."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import torch
from students import write_student
from trees import avenue, folder, save, ubnormal, ucsd, write_avi, write_images, write_mp4
from trials.damages import BYTES, TEXT, odd_array, odd_image, odd_matrix

from vadistill.datasets.labels import labels_of_boxes, read_labels
from vadistill.datasets.registry import read_clips
from vadistill.evaluation.auc_tables import COLUMNS, NUMBERS, PROTOCOL, read_tables
from vadistill.evaluation.region_files import read_regions, read_tracks
from vadistill.evaluation.score_files import check_pair, read_frame_labels, read_scores
from vadistill.frame_level.registry import read_detector
from vadistill.io import detections, frame_scores, maps, object_scores
from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.hdf5 import attribute, json_attribute, write_attributes, writing
from vadistill.io.media.video import frames_of
from vadistill.maps.calibration import fit
from vadistill.maps.calibration_file import read_calibration, write_calibration
from vadistill.report.run_files import read_metrics, read_timings
from vadistill.settings import CalibrationConfig, canonical
from vadistill.teachers.image_pool import read_image_pool
from vadistill.training.run import TrainingRun

FRAMES, SIZE = 24, (48, 64)
COUNT = 10  # frames of the clips of ``trees``


@dataclass(frozen=True)
class Reader:
    """A reader and how to try it.

    Attributes:
        make: Writes the files into a folder and returns the one to damage.
        read: Reads them all; gives what can be compared.
        exact: What is read from a damaged file must be what was written; else it must be ``sound``.
        sound: Whether something that was read could be true, given what the whole file held and what was logged.
        extra: Damages besides those of bytes.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    exact: bool = False
    sound: Callable[[object, object, str], bool] = lambda made, whole, log: True
    extra: tuple[Callable, ...] = ()

    @property
    def damages(self) -> tuple[Callable, ...]:
        return (*BYTES, *self.extra)


def _noise(count=FRAMES, size=SIZE):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (count, 6, 8, 3), dtype=np.uint8)
    return [cv2.resize(image, size[::-1]) for image in coarse]


def _digest(array):
    array = np.ascontiguousarray(array)
    return array.shape, str(array.dtype), array.tobytes()


# Videos: a count that differs from the whole one's must have been logged.


def _count(path):
    shapes = [frame.shape for frame in frames_of(path)]
    return len(shapes), shapes[0]


def _counted(made, whole, log):
    return made == whole or (made[1] == whole[1] and "film" in log) or made[0] > whole[0]


def _film(codec, suffix):
    def make(root):
        path = root / f"film{suffix}"
        with av.open(str(path), "w") as film:
            stream = film.add_stream(codec, rate=25)
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            for frame in _noise():
                film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            film.mux(stream.encode())
        return path

    return Reader(make, lambda root: _count(root / f"film{suffix}"), sound=_counted)


def _written_film(write, name):
    def make(root):
        write(root / name, _noise())
        return root / name

    return Reader(make, lambda root: _count(root / name), sound=_counted)


# Folders of images: one of 24 that cannot be decoded is repaired, and then it is marked and logged.


def _images(suffix):
    def make(root):
        write_images(root / "images", _noise(), suffix)
        return root / "images" / f"007{suffix}"

    def read(root):
        count = write_frames(root / "c.h5", "c", "train", root / "images", "png")
        store = FrameStore(root / "c.h5")
        for frame in store:
            assert frame.shape == (*SIZE, 3)
        if store.repaired:
            np.testing.assert_array_equal(store.read(7), store.read(6))
        return count, store.repaired

    def sound(made, whole, log):
        return made[0] == FRAMES and (made[1] == [] or (made[1] == [7] and f"007{suffix}" in log))

    return Reader(make, read, sound=sound, extra=(odd_image,))


def _frame_store(encoding):
    def make(root):
        write_images(root / "images", _noise(), ".png")
        write_frames(root / "c.h5", "c", "test", root / "images", encoding, fingerprint="f00")
        return root / "c.h5"

    def read(root):
        store = FrameStore(root / "c.h5")
        about = (store.clip, store.split, store.height, store.width, store.fps, store.fingerprint, store.repaired)
        return len(store), *about, [_digest(frame) for frame in store]

    return Reader(make, read, exact=True)


def _boxes(rng, count=40):
    corner = rng.uniform(0, 30, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 15, (count, 2))], 1)


def _detections(root):
    rng = np.random.default_rng(0)
    with writing(root / "0.h5") as file:
        write_attributes(file, classes=["person", "vélo"], weights_sha256="ab" * 32, settings='{"a": 1}')
        for clip, count in (("a", 40), ("b c.é", 7), ("empty", 0)):
            frame = np.sort(rng.integers(0, FRAMES, count))
            rest = rng.uniform(0, 1, count), rng.uniform(0, 1, (count, 2))
            detections.write_clip(file, detections.Detections(clip, FRAMES, SIZE, frame, _boxes(rng, count), *rest))
    return root / "0.h5"


def _read_detections(root):
    path = root / "0.h5"
    about = detections.class_names(path), attribute(path, "weights_sha256"), json_attribute(path, "settings")
    rows = [(c.clip, c.frames, c.size, *(_digest(getattr(c, n)) for n in detections.KINDS))
            for c in detections.read_shards([path])]  # fmt: skip
    return about, rows


def _object_scores(root):
    rng = np.random.default_rng(0)
    with writing(root / "0.h5") as file:
        write_attributes(file, teacher="multi_task", terms=["arrow", "middle_box"], settings="x" * 6000)
        for clip, count in (("a", 40), ("empty", 0)):
            frame = np.sort(rng.integers(0, FRAMES, count))
            rest = _boxes(rng, count), rng.normal(size=(count, 2))
            object_scores.write_clip(file, object_scores.ObjectScores(clip, FRAMES, SIZE, "s", frame, *rest))
    return root / "0.h5"


def _read_object_scores(root):
    path = root / "0.h5"
    about = attribute(path, "teacher"), object_scores.term_names(path), attribute(path, "settings")
    rows = [(c.clip, c.frames, c.size, c.scene, *(_digest(getattr(c, n)) for n in object_scores.KINDS))
            for c in object_scores.read_shards([path])]  # fmt: skip
    return about, rows


def _maps(root):
    rng = np.random.default_rng(0)
    with writing(root / "0.h5") as file:
        write_attributes(file, teacher="multi_task", model_settings='{"maps":{}}')
        for clip in ("a", "b"):
            made = {g: rng.uniform(0, 1, (40, g, g)) for g in (1, 4, 16)}
            repaired = np.array([3] if clip == "a" else [], int)
            maps.write_clip(file, clip, made, rng.uniform(0, 1, 40), height=48, width=64, repaired=repaired)
    return root / "0.h5"


def _read_maps(root):
    store = maps.MapStore([root / "0.h5"])
    read = [(clip, store.resolutions(clip), _digest(store.score(clip)),
             *(_digest(grid) for grid in store.read(clip, (1, 4, 16)).values())) for clip in store.clips()]  # fmt: skip
    return json_attribute(root / "0.h5", "model_settings"), store.frames, store.repaired, read


def _frame_scores(root):
    rng = np.random.default_rng(0)
    with writing(root / "0.h5") as file:
        for clip in ("a", "b"):
            frame_scores.write_clip(file, clip, {name: rng.normal(size=FRAMES) for name in ("boxes", "change")})
    return root / "0.h5"


def _read_frame_scores(root):
    return {n: {c: _digest(v) for c, v in s.items()} for n, s in frame_scores.read_shards([root / "0.h5"]).items()}


def _calibration(root):
    rng = np.random.default_rng(0)
    terms, scene = rng.uniform(0, 1, (300, 2)), np.zeros(300, int)
    made = fit(("a", "b"), ("a",), terms, scene, rng.uniform(0, 1, 300), ("",), CalibrationConfig()).to_json()
    content = {"teacher": "multi_task", "settings": {"logits": True}, "score": made, "single": {"a": made}}
    write_calibration(root / "calibration.json", {**content, "objects": 300, "clips": ["train_01"]})
    return root / "calibration.json"


def _model(root):
    write_student(root / "model.pt")
    return root / "model.pt"


def _read_model(root):
    detector, weights = read_detector(root / "model.pt")
    return detector.settings, {name: _digest(value.numpy()) for name, value in weights.items()}


def _run(root):
    return TrainingRun(root / "model.pt", "stamp", 0)


def _train(root, kind="state"):
    logging.disable(logging.INFO)
    network, run = torch.nn.Linear(3, 2), _run(root)
    for epoch, _ in run.epochs("one", 3, {"network": network}):
        run.record("one", epoch, {"train_loss": 1.5})
        torch.nn.init.constant_(network.weight, epoch)
    return root / {"state": "model.state", "metrics": "model.metrics.jsonl"}[kind]


def _resume(root):
    """Which epochs are done again, from which weights."""
    network = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(network.weight, -1)
    run, done = _run(root), []
    for epoch, _ in run.epochs("one", 3, {"network": network}):
        run.record("one", epoch, {"train_loss": 1.5})
        done.append(epoch)
    return done, float(network.weight[0, 0])


def _resumed(made, whole, log):
    return made == whole or (made == ([0, 1, 2], -1.0) and "model.state" in log)


# Ground truth.


def _truth(layout, tree, damaged, name, **options):
    def read(root):
        clips = {clip.name: clip for clip in read_clips(layout, root / "tree") if clip.split == "test"}
        if name not in clips:
            return COUNT, "no such clip"  # a list of names may be a shorter one
        labels = read_labels(clips[name], COUNT, SIZE)
        assert set(np.unique(labels.frame)) <= {0, 1} and labels.frame.dtype == np.uint8
        return len(labels.frame), None if labels.mask is None else labels.mask.shape

    def make(root):
        tree(root / "tree")
        return root / "tree" / damaged

    return Reader(make, read, **{"sound": lambda made, whole, log: made[0] == COUNT, **options})


def _own_table(root):
    folder(root, frame_masks=False, pixel_masks=False)
    (root / "labels.csv").write_text("clip,start,end\na,1,3\nb,2,4\na,6,9\n")


def _validation(root):
    boxes = np.zeros((FRAMES, 1, 4), np.float32)
    boxes[8:16] = (3, 4, 20, 30)
    save(root / "train_01.fast.npy", boxes)
    return root / "train_01.fast.npy"


def _read_validation(root):
    labels = labels_of_boxes([root / "train_01.fast.npy"])["train_01.fast"]
    assert set(np.unique(labels)) <= {0, 1}
    return len(labels), int(labels.sum())


# What the commands auc and regions read.


def _regions(read, text):
    def make(root):
        (root / "regions").mkdir()
        for clip in ("a", "b"):
            (root / "regions" / f"{clip}.txt").write_text(text)
        return root / "regions" / "a.txt"

    return Reader(make, lambda root: len(read(root / "regions")["a"].frame), extra=TEXT)


def _judged(read, archive, values):
    def make(root):
        if archive:
            np.savez(root / "s.npz", a=values, b=values)
            return root / "s.npz"
        for clip in ("a", "b"):
            save(root / "s" / f"{clip}.npy", values)
        return root / "s" / "a.npy"

    def get(root):
        path = root / ("s.npz" if archive else "s")
        made = read(path)
        if archive:
            check_pair(path, made, "the labels", dict.fromkeys("ab", values))
        assert all(np.isfinite(part).all() and part.ndim == 1 for part in made.values())
        return {clip: _digest(part) for clip, part in made.items()}

    return Reader(make, get, exact=archive, extra=(odd_array,))


def _text(name, text, read):
    def make(root):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return Reader(make, lambda root: read(root / name), extra=TEXT)


def _pool(root):
    write_images(root / "pool", _noise(3), ".png")
    return root / "pool" / "001.png"


_ROW = dict.fromkeys(("split", "kind", *COLUMNS, *PROTOCOL), "x") | dict.fromkeys(NUMBERS, 0.5)
_TABLE = pd.DataFrame([_ROW] * 3).to_csv()
_TRACKS = "\n".join(f"1,{t},2,3.5,20,30" for t in range(9)) + "\n"
_BOXES = "\n".join(f"{t},2,3.5,20,30,0.{t}" for t in range(9)) + "\n"
_METRICS = "".join(f'{{"phase": "one", "phase_index": 0, "epoch": {t}, "train_loss": 0.5}}\n' for t in range(4))
_SCORES, _LABELS = np.linspace(0, 1, FRAMES), (np.arange(FRAMES) > 9).astype(np.uint8)
_MAT = "ground_truth_demo/testing_label_mask/8_label.mat"
_UB, _UB_FOLDER = "abnormal_scene_1_scenario_2", "Scene1/abnormal_scene_1_scenario_2_annotations"

READERS: dict[str, Reader] = {
    "video.avi": _written_film(write_avi, "film.avi"),
    "video.mp4": _written_film(write_mp4, "film.mp4"),
    "video.h264.mp4": _film("libx264", ".mp4"),
    "video.h264.mov": _film("libx264", ".mov"),
    "video.h264.mkv": _film("libx264", ".mkv"),
    "video.vp9.webm": _film("libvpx-vp9", ".webm"),
    "video.mpeg4.avi": _film("mpeg4", ".avi"),
    "video.flv": _film("flv", ".flv"),
    **{f"images{suffix}": _images(suffix) for suffix in (".jpg", ".png", ".bmp", ".tif")},
    "store.frames.jpeg": _frame_store("jpeg"),
    "store.frames.png": _frame_store("png"),
    "store.detections": Reader(_detections, _read_detections, exact=True),
    "store.object_scores": Reader(_object_scores, _read_object_scores, exact=True),
    "store.maps": Reader(_maps, _read_maps, exact=True),
    "store.frame_scores": Reader(_frame_scores, _read_frame_scores, exact=True),
    "calibration.json": Reader(
        _calibration, lambda root: canonical(read_calibration(root / "calibration.json")), exact=True, extra=TEXT
    ),
    "model.pt": Reader(_model, _read_model, exact=True),
    "model.state": Reader(_train, _resume, sound=_resumed),
    "model.metrics": Reader(
        lambda root: _train(root, "metrics"), _resume, sound=lambda made, whole, log: made == whole
    ),
    "validation.npy": Reader(_validation, _read_validation, extra=(odd_array,)),
    "labels.frames.npy": _truth("folder", folder, "test_frame_mask/a.npy", "a", extra=(odd_array,)),
    "labels.masks.npy": _truth("folder", folder, "test_pixel_mask/a.npy", "a", extra=(odd_array,)),
    "labels.mat": _truth("avenue", avenue, _MAT, "08", extra=(odd_matrix,)),
    "labels.m": _truth("ucsd_ped1", ucsd, "UCSDped1/Test/UCSDped1.m", "Test001", extra=TEXT),
    "labels.bmp": _truth("ucsd_ped1", ucsd, "UCSDped1/Test/Test002_gt/004.bmp", "Test002", extra=(odd_image,)),
    "labels.csv": _truth("folder", _own_table, "labels.csv", "a", extra=TEXT),
    "labels.tracks": _truth("ubnormal", ubnormal, f"{_UB_FOLDER}/{_UB}_tracks.txt", _UB, extra=TEXT),
    "labels.objects.png": _truth("ubnormal", ubnormal, f"{_UB_FOLDER}/{_UB}_0004_gt.png", _UB, extra=(odd_image,)),
    "clips.list": _truth("ubnormal", ubnormal, "scripts/abnormal_test_video_names.txt", _UB, extra=TEXT),
    "regions.tracks": _regions(read_tracks, _TRACKS),
    "regions.detections": _regions(read_regions, _BOXES),
    "auc.scores.npy": _judged(read_scores, False, _SCORES),
    "auc.scores.npz": _judged(read_scores, True, _SCORES),
    "auc.labels.npy": _judged(read_frame_labels, False, _LABELS),
    "auc.labels.npz": _judged(read_frame_labels, True, _LABELS),
    "table.csv": _text("run/table.csv", _TABLE, lambda path: len(read_tables([path])["run"])),
    "metrics.jsonl": _text("m.metrics.jsonl", _METRICS, lambda path: len(read_metrics(path))),
    "timings.tsv": _text("benchmarks/a.tsv", "s\tmax_rss\n1.5\t20.5\n", lambda path: len(read_timings(path.parent))),
    "image_pool": Reader(_pool, lambda root: read_image_pool(root / "pool", 16).shape, extra=(odd_image,)),
}
