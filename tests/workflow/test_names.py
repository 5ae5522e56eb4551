"""Clips and folders with hostile names go through the whole workflow as text: nothing of them is run or gets lost."""

import base64
import csv
import html
import json
import re
import unicodedata
from xml.etree import ElementTree

import av
import numpy as np
import pytest
import yaml
from conftest import CONFIG, Project, copy_project
from trees import write_images, write_mp4

from vadistill.datasets.demo.clips import render_clip
from vadistill.evaluation.localisation import tracks_of_masks
from vadistill.evaluation.region_files import write_tracks
from vadistill.settings import DemoConfig

pytestmark = pytest.mark.workflow
FRAMES = 40
SHELL = "a b;$(touch x)'\""
TRAIN = (SHELL, "`touch x` %s %03d |& sh >y<", "gate.fast", "#=1+1,2!@^~", "Straße, 'нет'")
TEST = (
    SHELL,
    "<img src=x onerror=alert(1)> &amp; --",
    "$HOME * ? [a-z] $x^2$ %03d",
    unicodedata.normalize("NFD", "é 監視カメラ"),
    " http:1, null ",
    " ".join(map(str, range(69)))[:194] + " 長",
)
SHORT = {"one frame": 1, "a b;c": 11}  # training clips that are left out
FOLDER = f"resources/{SHELL}"
PROJECT = "it's a project; touch y & (1) é %s"


def write_clips(root) -> None:
    """A data set of generated clips in layout ``folder``, with labels and tracks; labels.csv spells é in one letter."""
    demo = DemoConfig(seed=3, train_clips=len(TRAIN), test_clips=len(TEST), frames=FRAMES, height=96, width=160)
    intervals = []
    for split, names in (("train", TRAIN), ("test", TEST)):
        for number, name in enumerate(names, start=1):
            frames, masks, _ = zip(*render_clip(demo, split, f"{split}_{number:02d}"), strict=True)
            if number == 2:
                write_images(root / split / name, list(frames), ".jpg")
            else:
                write_mp4(root / split / "clip.mp4", list(frames))
                (root / split / "clip.mp4").rename(root / split / f"{name}.mp4")
            if split == "test":
                write_tracks(root / "tracks" / f"{name}.txt", tracks_of_masks(np.stack(masks)))
                abnormal = np.flatnonzero(np.stack(masks).any((1, 2)))
                intervals.append((unicodedata.normalize("NFC", name), abnormal[0], abnormal[-1] + 1))
    for name, count in SHORT.items():
        write_images(root / "train" / name, list(frames[:count]), ".jpg")
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("clip", "start", "end"), *intervals])


@pytest.fixture(scope="module")
def project(tmp_path_factory, forks) -> Project:
    made = copy_project(tmp_path_factory.mktemp("names") / PROJECT, forks)
    write_clips(made.folder / FOLDER)
    entry = yaml.safe_load(CONFIG.read_text())["datasets"]["tiny"]
    del entry["demo"]
    entry |= {
        "layout": "folder",
        "path": FOLDER,
        "shards": 1,
        "validation": {"clips": 1, "frames": 24, "kinds": ["backward"]},
        "synthetic": {"clips": 5, "frames": 24, "kinds": ["backward"]},
        "localisation": {"tracks": f"{FOLDER}/tracks"},
    }
    entry["distillation"] |= {"teachers": ["flow_neighbours"], "epochs": 1, "selection": "last"}
    config = made.changed(json.dumps({"datasets": {"names": entry}}))
    targets = ("auc.json", "pictures", "report.html", *(f"overlays/{name}.mp4" for name in TEST))
    made.snakemake(*(f"results/names/{target}" for target in targets), config=[config])
    return made


def test_every_clip_has_its_results(project):
    results = project.folder / "results/names"
    auc = json.loads((results / "auc.json").read_text())
    assert auc["left_out_clips"] == SHORT
    assert set(auc["student"]["per_clip"]) == set(TEST) and auc["frames"] == FRAMES * len(TEST)
    assert all(clip["abnormal_frames"] for clip in auc["student"]["per_clip"].values()), "labels.csv names all of them"
    located = json.loads((results / "localisation.json").read_text())
    assert located["clips"] == len(TEST) and located["tracks"] >= len(TEST)
    drawn = {path.name for path in (results / "pictures").glob("*.png") if not path.name.startswith("training_")}
    assert drawn == {f"{name}_{kind}.png" for name in TEST for kind in ("scores", "maps")}
    for name in TEST:
        with av.open(str(results / f"overlays/{name}.mp4")) as film:
            assert film.streams.video[0].frames == FRAMES


def test_the_report_shows_names_as_text(project):
    page = (project.folder / "results/names/report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    cells = {html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", page)}
    described = {html.unescape(text) for text in re.findall(r'alt="(.*?)"', page)}
    for name in TEST:
        assert name in cells and f"score curves of clip {name}" in described
    for figure in re.findall(r"data:image/svg\+xml;base64,([^\"]*)", page):
        ElementTree.fromstring(base64.b64decode(figure))


def test_no_name_was_run_and_nothing_lies_elsewhere(project):
    made = {path.name for path in project.folder.iterdir()}
    assert made == {*("Snakefile", "workflow", "envs", "config.yaml", "src", "resources", "results", ".snakemake"),
                    "changed.yaml"}  # fmt: skip
    assert [path.name for path in (project.folder / "results").iterdir()] == ["names"]
    assert [path.name for path in project.folder.parent.iterdir()] == [PROJECT]
    assert not [path for path in project.folder.rglob("*") if path.name in ("x", "y")]
