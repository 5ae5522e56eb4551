import cv2
import numpy as np
import pytest

from vadistill.geometry.flow import dis_flow
from vadistill.windows.flow_planes import MOST, REMEMBERED, FlowPlanes
from vadistill.windows.shape import plane_count, window_shape


def texture(shift=(0, 0), size=(64, 96)):
    """A smooth random picture that lies ``shift`` = (right, down) pixels further."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)
    whole = cv2.normalize(cv2.GaussianBlur(noise, None, 2), None, 0, 255, cv2.NORM_MINMAX)
    return np.ascontiguousarray(whole[20 - shift[1] :, 20 - shift[0] :][: size[0], : size[1]])


def pixels(planes):
    return (planes.astype(np.float64) - 127) / 128 * MOST * planes.shape[1]


def test_planes_say_where_things_go_to_from_frame_to_frame():
    window = [texture((3, -1)), texture(), texture((-5, 2))]
    planes = FlowPlanes("medium")(window)
    assert planes.shape == (4, 64, 96) and planes.dtype == np.uint8
    inside = pixels(planes)[:, 8:-8, 8:-8]
    np.testing.assert_allclose(np.median(inside, (1, 2)), [-3, 1, -5, 2], atol=0.1)


def test_planes_are_dis_flow_to_a_step_of_a_byte_around_the_middle_frame():
    window = [texture((9, 9)), texture((-2, 2)), texture(), texture((5, 0)), texture((-9, -9))]
    made, dis = pixels(FlowPlanes("fast")(window)), dis_flow(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    expected = [dis(*pair).transpose(2, 0, 1) for pair in (window[1:3], window[2:4])]
    cv2.setNumThreads(before)
    half_a_step = MOST * 64 / 128 / 2
    np.testing.assert_allclose(made, np.clip(np.concatenate(expected), -8, 8), atol=half_a_step + 1e-6)


def test_faster_than_an_eighth_of_the_height_is_an_eighth(monkeypatch):
    planes = FlowPlanes("medium")
    monkeypatch.setattr(planes, "_flow", lambda *_: np.full((40, 50, 2), (900.0, -900.0), np.float32))
    made = planes([np.zeros((40, 50), np.uint8)] * 3)
    assert made[0].min() == 255 and made[1].max() == 0


def test_the_flow_between_frames_of_the_same_names_is_measured_once(monkeypatch):
    film = [texture((shift, -shift)) for shift in (0, 2, 5, 9, 7, 3)]
    planes, asked = FlowPlanes("medium"), []
    dis = planes._flow
    monkeypatch.setattr(planes, "_flow", lambda *pair: asked.append(pair) or dis(*pair))
    for names in (
        (0, 0, 1),
        (0, 1, 2),
        (1, 2, 3),
        (2, 3, 4),
        (3, 4, 5),
        (4, 5, 5),
    ):
        window = [film[t] for t in names]
        np.testing.assert_array_equal(planes(window, names), FlowPlanes("medium")(window))
    assert len(asked) == 7
    for _ in range(2):
        planes(film[:3])
    assert len(asked) == 11, "without names there is no telling"


def test_few_flows_are_kept():
    planes = FlowPlanes("ultrafast")
    for t in range(100):
        planes([texture(size=(16, 16))] * 3, [t, t + 1, t + 2])
    assert len(planes._known) == REMEMBERED


def test_nothing_moves_in_frames_that_are_the_same():
    assert (FlowPlanes("medium")([texture()] * 3) == 127).all()


@pytest.mark.parametrize(("flow", "channels"), [("none", 9), ("medium", 13)])
def test_shape_of_a_window(flow, channels):
    assert window_shape((48, 64), (-3, 0, 3), flow) == (channels, 48, 64)
    assert plane_count(flow) == channels - 9
