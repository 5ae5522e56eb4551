"""Frame-level detectors by name: what is unknown, and what the rule train_detector cannot train."""

from dataclasses import asdict

import pytest

from vadistill.errors import InputError
from vadistill.frame_level.registry import detector_class, read_detector, untrained
from vadistill.frame_level.student import StudentDetector
from vadistill.settings import DETECTORS, StudentConfig, canonical
from vadistill.training.checkpoint import save


def test_every_detector_has_its_class():
    assert detector_class("student") is StudentDetector
    assert {name: detector_class(name).name for name in DETECTORS} == {name: name for name in DETECTORS}


def test_what_cannot_be_had_is_said_in_one_line():
    with pytest.raises(InputError, match=r"frame-level detector 'mine': unknown; expected one of student, flow_cells"):
        detector_class("mine")
    settings = {"student": asdict(StudentConfig()), "maps": {}}
    with pytest.raises(InputError, match=r"'student': has rules of its own; expected one that learns of frames alone"):
        untrained("student", settings)


@pytest.mark.parametrize(("frames", "step", "expected"), [(3, 3, (-3, 0, 3)), (1, 3, (0,)), (5, 2, (-4, -2, 0, 2, 4))])
def test_a_window_lies_around_the_judged_frame(frames, step, expected):
    network = StudentConfig(frames=frames, frame_step=step)
    assert network.offsets == expected and network.size == (360, 640)


def test_settings_of_another_version_are_named(tmp_path):
    path = tmp_path / "old.pt"
    used = canonical({"student": {"pooling": "max"}, "maps": {"resolutions": [1]}})
    save({"kind": "student", "settings": used, "weights": {}}, path)
    with pytest.raises(InputError, match=r"^\S*old\.pt: the setting student\.pooling is of another version") as caught:
        read_detector(path)
    assert str(caught.value).count("old.pt") == 1
