"""What runs after a plain 'pip install .': scoring videos and judging scores, and one line where more is needed."""

import json
import os
import re
import subprocess
import sys
from shutil import copy, copytree

import numpy as np
import pytest
from films import write_film
from packages import COMMANDS, EXTRAS, OPTIONAL, ROOT, names, run_without
from stored_clips import numbered_clip
from stream_parts import joined
from students import write_student

from vadistill.inference.backends import load_backend
from vadistill.inference.export import export_onnx
from vadistill.inference.pack import pack
from vadistill.inference.stream import score_video
from vadistill.io import resize

MOST = 300e6  # bytes of an environment that scores
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
SCORE = """
import vadistill
made = vadistill.load(arguments[0]).score(arguments[1])
print(json.dumps([made.score.tolist(), sorted({"torch", "cv2", "h5py"} & set(sys.modules))]))
"""


def spots(count=20, height=120, width=160):
    rng = np.random.default_rng(0)
    return [np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Students, sources of each kind, labels and regions."""
    made = tmp_path_factory.mktemp("light")
    write_student(made / "student.pt")
    write_student(made / "with_flow.pt", flow="fast")
    export_onnx(made / "student.pt", made / "student.onnx")
    export_onnx(made / "with_flow.pt", made / "with_flow.onnx")
    (made / "graph").mkdir()
    (made / "results/student").mkdir(parents=True)
    copy(made / "student.pt", made / "results/student/student.pt")
    pack(made / "results", made / "packed")
    write_film(made / "clip.mp4", "libx264", spots())
    numbered_clip(made, 4)
    (made / "scores").mkdir()
    (made / "labels").mkdir()
    np.save(made / "scores/clip.npy", np.linspace(0, 1, 20))
    np.save(made / "labels/clip.npy", (np.arange(20) > 11).astype(np.uint8))
    for kind, line in (("tracks", "1,0,2,2,9,9"), ("found", "0,2,2,9,9,0.5")):
        (made / kind).mkdir()
        (made / kind / "clip.txt").write_text(line + "\n")
    return made


@pytest.fixture(scope="module")
def expected(folder):
    """Scores (T,) of the clip by torch, with frames resized as they are without OpenCV."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resize, "cv2", None)
        return joined(score_video(folder / "clip.mp4", load_backend("eager-fp32", folder / "student.pt"))).score


def lacks(package, extra):
    remedy = rf"install vadistill with its extra '{extra}' \(in its folder: pip install '\.\[{extra}\]'\)"
    return rf"error: the package {package} is missing; {remedy}\n"


def test_a_video_is_scored_without_the_optional_packages(folder, expected):
    scores, _ = run_without(OPTIONAL, SCORE, ["student.onnx", "clip.mp4"], folder)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_packed_detector_is_run_without_the_optional_packages(folder, expected):
    scores, imported = run_without(OPTIONAL, SCORE, ["packed", "clip.mp4"], folder)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert imported == []


def test_an_exported_student_does_without_torch_where_it_is_installed(folder):
    _, imported = run_without((), SCORE, ["student.onnx", "clip.mp4"], folder)
    assert imported == ["cv2"]


def test_every_command_runs_or_names_the_extra_in_one_line(folder, expected):
    score, judged = ("score", "clip.mp4", "--output", "out", "--model"), ("--scores", "scores", "--labels", "labels")
    also = ("--model", "student.onnx", "--output", "out")
    cases = {
        ("--help",): "",
        **{
            (name, "--help"): ""
            for name in ("score", "adapt", "watch", "export", "benchmark", "auc", "events", "regions")
        },
        ("auc", *judged, "--sigma", "2"): "",
        ("auc", *judged, "--protocol", "fast_aed"): "",
        ("events", *judged, "--fps", "25", "--threshold", "0.6"): "",
        ("regions", "--tracks", "tracks", "--detections", "found", "--num-frames", "20"): "",
        (*score, "student.onnx", "--maps"): "",
        (*score, "packed"): "",
        ("score", "clip.mp4", "--output", "tables", "--model", "packed", "--parquet"): lacks("polars", "parquet"),
        ("adapt", "packed", "clip.mp4", "mine"): "",
        ("score", "clip.mp4", "--output", "adapted", "--model", "mine"): "",
        (*score, "packed", "--overlay"): lacks("(cv2|matplotlib)", "train"),
        (*score, "student.pt"): lacks("torch", "train"),
        ("pack", "results", "other"): lacks("torch", "train"),
        (*score, "graph"): lacks("openvino", "openvino"),
        (*score, "with_flow.onnx"): lacks("cv2", "opencv"),
        ("score", "numbered_images", *also): lacks("cv2", "opencv"),
        ("score", "numbered.h5", *also): lacks("(cv2|h5py)", "train"),
        ("export", "student.pt", "made.onnx"): lacks("torch", "train"),
        ("watch", "cameras.yaml"): lacks("(cv2|pydantic|yaml)", "watch"),
        ("benchmark", "made.json"): lacks("torch", "train"),
    }
    made = run_without(OPTIONAL, COMMANDS, list(cases), folder)
    for (words, told), (code, _, said) in zip(cases.items(), made, strict=True):
        logged = r"(\d\d:\d\d:\d\d .*\n)*"
        assert code == bool(told) and re.fullmatch(logged + told, said), f"{words}: {code} {said}"
    table = np.genfromtxt(folder / "out/clip.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["score"], expected, atol=1e-4)
    assert not (folder / "made.onnx").exists() and not (folder / "made.json").exists()


def test_the_extra_opencv_is_enough_for_flow_and_folders_of_images(folder):
    for source, model in (("numbered_images", "student.onnx"), ("clip.mp4", "with_flow.onnx")):
        scores, imported = run_without(OPTIONAL - {"cv2"}, SCORE, [model, source], folder)
        assert len(scores) == (4 if source == "numbered_images" else 20) and imported == ["cv2"]


@pytest.mark.slow
@pytest.mark.workflow
def test_the_image_of_the_dockerfile_is_small_and_scores(folder, expected, tmp_path):
    """Its own COPY and pip lines, in an environment in place of a container."""
    (place := tmp_path / "vadistill").mkdir()
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M):
        *sources, _ = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                copytree(ROOT / source, place / source, ignore=lambda _, found: {"__pycache__"} & {*found})
            else:
                copy(ROOT / source, place)
    (install,) = re.findall(r"^RUN (pip install .*)$", DOCKERFILE, re.M)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EXTRAS")}
    clean["PATH"] = f"{tmp_path}/venv/bin:{clean['PATH']}"
    done = subprocess.run(install, shell=True, env=clean, cwd=place, capture_output=True, text=True)
    if done.returncode and re.search(r"Retrying \(|ConnectionError|name resolution", done.stderr):
        pytest.skip("pip reaches no package index, so that no environment can be built")
    assert done.returncode == 0, done.stderr
    files = [path for path in (tmp_path / "venv").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) <= MOST
    listed = subprocess.check_output(["pip", "list", "--format", "json"], env=clean, cwd=tmp_path, text=True)
    optional = set().union(*map(names, EXTRAS.values()))
    assert not {package["name"].lower() for package in json.loads(listed)} & {name.lower() for name in optional}
    for model in ("student.onnx", "packed"):
        words = ["score", folder / "clip.mp4", "--model", folder / model, "--output", tmp_path / f"{model}.csv"]
        subprocess.run(["vadistill", *words], env=clean, cwd=tmp_path, check=True)
        table = np.genfromtxt(tmp_path / f"{model}.csv", delimiter=",", names=True)
        np.testing.assert_allclose(table["score"], expected, atol=1e-4)
