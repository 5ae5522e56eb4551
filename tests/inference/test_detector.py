"""The door from Python: vadistill.load(model).score(clip)."""

import subprocess
import sys

import numpy as np
import pytest
from films import write_film
from stream_parts import joined, noise
from students import write_student

import vadistill
from vadistill.errors import InputError
from vadistill.inference.backends import load_backend
from vadistill.inference.score_table import score_all
from vadistill.inference.scoring import ScoreOptions
from vadistill.inference.stream import score_video


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "distilled.pt"
    write_student(path)
    return path


def test_it_says_what_the_command_line_says(model, tmp_path):
    times = [40 * t for t in range(8)] + [320 + 200 * t for t in range(6)]
    clip = write_film(tmp_path / "clip.mp4", "libx264", noise(14, 48, 64), times=times)
    said = vadistill.load(model).score(clip, batch=4)
    assert not score_all([clip], tmp_path / "out", load_backend("torch-fp32", model), ScoreOptions(4))
    table = np.genfromtxt(tmp_path / "out/clip.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(said.score, table["score"].astype(np.float32))
    np.testing.assert_allclose(said.time, table["time_s"], atol=6e-4)
    expected = joined(score_video(clip, load_backend("torch-fp32", model), 4))
    assert len(said) == 14 and said.maps.keys() == expected.maps.keys()
    for g, grid in expected.maps.items():
        np.testing.assert_array_equal(said.maps[g], grid)


def test_what_cannot_be_scored(model, tmp_path):
    with pytest.raises(InputError, match=r"none\.pt: "):
        vadistill.load(tmp_path / "none.pt")
    with pytest.raises(InputError, match="backend 'fast': unknown"):
        vadistill.load(model, backend="fast")
    with pytest.raises(InputError, match=r"gone\.mp4: missing"):
        vadistill.load(str(model)).score(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match=r"--match-rate \(match_rate\): the model does not know"):
        vadistill.load(model).score(tmp_path / "gone.mp4", match_rate=True)


def test_the_package_is_imported_without_torch():
    code = "import sys, vadistill; vadistill.__version__; print({'torch', 'numpy', 'cv2'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = vadistill.lod
