"""Names that libraries crash on, and paths that a config writes with ~ and $NAME."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from students import write_student
from trees import pictures, write_images, write_mp4

from vadistill.errors import InputError, printable
from vadistill.evaluation.region_files import read_tracks
from vadistill.evaluation.score_files import read_scores
from vadistill.inference.backends import load_backend
from vadistill.io.arrays import load_arrays
from vadistill.io.files import fingerprint, read_json, sha256, whole_file, whole_folder, write_json
from vadistill.io.frames import FrameStore
from vadistill.io.media.image_folder import images_of
from vadistill.io.media.video import frames_of
from vadistill.settings.check import check
from vadistill.teachers.image_pool import read_image_pool
from vadistill.training.checkpoint import load_model

LATIN = os.fsdecode(b"caf\xe9")
NAMES = (LATIN, "two\nlines", "bell\a", "line\u2028separator", "escape\x1b[2J")


def written(path):
    with whole_file(path) as temporary:
        temporary.write_text("")


def written_folder(path):
    with whole_folder(path):
        pass


OPENERS = {
    "video": (".mp4", lambda path: list(frames_of(path))),
    "folder of images": ("", lambda path: list(images_of(path))),
    "image pool": ("", lambda path: read_image_pool(path, 8)),
    "frame store": (".h5", FrameStore),
    "array": (".npy", load_arrays),
    "scores": ("", read_scores),
    "tracks": ("", read_tracks),
    "json": (".json", read_json),
    "hash": (".pt", sha256),
    "fingerprint": (".avi", fingerprint),
    "model": (".pt", lambda path: load_model(path, "student")),
    "backend": (".onnx", lambda path: load_backend("onnx-fp32", path)),
    "output": (".csv", written),
    "output folder": ("", written_folder),
    "json output": (".json", lambda path: write_json(path, {})),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", OPENERS)
def test_no_opener_takes_a_name_that_a_library_may_crash_on(kind, name, tmp_path):
    suffix, opener = OPENERS[kind]
    path = tmp_path / f"{name}{suffix}"
    if "output" not in kind:
        made = tmp_path / "made"  # OpenCV would crash on writing to such a name, too
        write_images(made, pictures(3), ".png") if not suffix else made.write_bytes(b"content")
        made.rename(path)
    with pytest.raises(InputError) as caught:
        opener(path)
    line = str(caught.value)
    assert ascii(str(path)) in line and "expected another name" in line
    line.encode("ascii")
    assert line.isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_such_a_name_is_refused_and_not_replaced(name, tmp_path):
    write_images(tmp_path, [np.full((24, 32, 3), 9 * t, np.uint8) for t in range(25)], ".png")
    (tmp_path / "007.png").rename(tmp_path / f"007{name}.png")
    with pytest.raises(InputError, match="cannot be used"):
        list(images_of(tmp_path))


UNUSUAL = ("no-break\u202fspace", "監視カメラ", "é", "e\u0301", "a b;$(touch x)'\"", "zero\u200bwidth")


@pytest.mark.parametrize("name", UNUSUAL)
def test_names_that_are_only_unusual_are_taken(name, tmp_path):
    write_mp4(tmp_path / "a.mp4", pictures())
    (tmp_path / "a.mp4").rename(tmp_path / f"{name}.mp4")
    write_images(tmp_path / name, pictures(), ".png")
    for source in (tmp_path / f"{name}.mp4", tmp_path / name):
        assert len(list(frames_of(source))) == 10


def test_a_folder_that_is_not_utf_8_is_noticed_behind_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / LATIN).mkdir()
    monkeypatch.chdir(tmp_path / LATIN)
    (tmp_path / LATIN / "a.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be used"):
        list(frames_of("a.mp4"))


def test_a_tilde_that_no_shell_has_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for opener in (lambda: list(frames_of("~/a.mp4")), lambda: write_json("~/a.json", {})):
        with pytest.raises(InputError, match=r"~/a\.\w+: a '~' in quotes"):
            opener()
    assert not list(tmp_path.iterdir())
    write_json("~backup/a.json", {})
    assert read_json("./~backup/a.json") == {}


def test_text_for_terminals_is_one_line_of_what_they_show():
    assert printable(f"{LATIN}\n\x1b 'é' 長\u202f") == "caf\\udce9\\n\\x1b 'é' 長\u202f"


def score(folder, *sources, encoding="utf-8:strict"):
    command = [sys.executable, "-m", "vadistill", "score", *map(os.fsencode, sources), "--model", "student.pt"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run([*command, "--output", "out"], cwd=folder, env=environment, capture_output=True)


@pytest.mark.slow
def test_score_says_in_a_line_which_source_it_leaves_out(tmp_path):
    write_student(tmp_path / "student.pt")
    write_mp4(tmp_path / "a.mp4", pictures())
    (tmp_path / "a.mp4").rename(tmp_path / f"{LATIN}.mp4")
    write_images(tmp_path / "images", pictures(), ".png")
    (tmp_path / "images").rename(tmp_path / f"{LATIN} images")
    write_images(tmp_path / "good", pictures(), ".png")
    sources = [f"{LATIN}.mp4", f"{LATIN} images", f"{LATIN}2.h5", "missing é.mp4", "good"]
    done = score(tmp_path, *sources, encoding="ascii:strict")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith(b"error: ")]
    assert len(errors) == 4 and b"Traceback" not in done.stderr
    assert sum(b"caf\\udce9" in line for line in errors) == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.csv"]


ROOT = Path(__file__).parents[1]


@pytest.fixture
def config():
    with open(f"{ROOT}/config.yaml", encoding="utf-8") as file:
        return copy.deepcopy(yaml.safe_load(file))


def test_home_and_variables_in_the_paths_of_a_config(config, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", "/mnt/data")
    avenue = config["datasets"]["avenue"]
    avenue["path"] = "~/avenue"
    avenue["localisation"] = {"tracks": "$DATA/tracks"}
    config["background_agnostic"]["image_pool"] = "${DATA}/pool"
    config["detection"]["weights"] = "$DATA/my.pt"
    check(config)
    assert avenue["path"] == "/home/me/avenue" and avenue["localisation"]["tracks"] == "/mnt/data/tracks"
    assert config["background_agnostic"]["image_pool"] == "/mnt/data/pool"
    assert config["detection"]["weights"] == "/mnt/data/my.pt"


def test_other_paths_stay_as_they_are(config):
    config["datasets"]["avenue"]["path"] = "../a//b/./c~/$(x) 5$"
    before = copy.deepcopy(config)
    check(config)
    assert config == before


@pytest.mark.parametrize(
    ("path", "told"),
    [("$NOT_SET/x", "$NOT_SET"), ("a/${NOT_SET}", "${NOT_SET}"), ("~nobody_of_this_name/x", "~nobody_of_this_name")],
)
def test_what_is_not_defined_is_named(path, told, config, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    config["datasets"]["avenue"]["path"] = path
    with pytest.raises(InputError) as caught:
        check(config)
    assert f"datasets.avenue.path is '{path}'; {told} is not defined" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_elsewhere_are_the_input_of_the_detection(tmp_path):
    """By a plan of the workflow: ``$NAME`` in detection.weights leads to the file itself."""
    shutil.copy(f"{ROOT}/resources/weights/demo.pt", tmp_path / "own.pt")
    (tmp_path / "own.yaml").write_text("datasets: {demo: {detection: {weights: $OWN/own.pt}}}\n")
    target = ["results/demo/detections/train/0.h5", "--configfile", str(tmp_path / "own.yaml")]
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1", "--nolock", *target]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OWN": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"--weights {tmp_path}/own.pt " in done.stdout
