import json
from types import SimpleNamespace

import pytest

from vadistill.errors import InputError
from vadistill.windows.training_conditions import KEY, MOST, Conditions, frame_step, matched_step, with_step


def clip(width=640, height=360, fps=25.0, depth=None):
    return SimpleNamespace(width=width, height=height, fps=fps, depth=depth)


ONE = Conditions.of([clip()])
TWO = Conditions.of([clip(), clip(fps=10.0), clip(480, 480, None)])


def test_what_is_kept_of_clips():
    assert Conditions(3, (10.0, 25.0), ((480, 480), (640, 360))) == TWO
    assert Conditions.of([clip(fps=29.97002997)]).frames_per_second == (29.97,)
    assert Conditions.of([clip(fps=None)] * 2) == Conditions(2, (), ((640, 360),))
    many = Conditions.of(clip(100 + n, 100, 1.0 + n) for n in range(1000))
    assert many.clips == 1000 and len(many.frames_per_second) == len(many.sizes) == MOST
    assert (many.frames_per_second[0], many.frames_per_second[-1]) == (1.0, 1000.0)
    assert (many.sizes[0], many.sizes[-1]) == ((100, 100), (1099, 100))


def test_a_record_reads_back_through_json():
    settings = json.loads(json.dumps({KEY: TWO.record()}))
    assert Conditions.read(settings) == TWO
    deep = Conditions.of([clip(), clip(depth=(7320.0, 9040.0))])
    assert Conditions.read(json.loads(json.dumps({KEY: deep.record()}))) == deep
    assert deep.depth == (7320.0, 9040.0) and "depth" not in TWO.record()
    assert Conditions.read({"student": {}}) is None, "a model of an earlier version"
    for damaged in (None, [], {}, {"clips": 1, "frames_per_second": 3, "sizes": []}, {**TWO.record(), "sizes": [[1]]},
                    {**TWO.record(), "depth": [1]}):  # fmt: skip
        with pytest.raises(InputError, match=f"the model's record '{KEY}' is damaged"):
            Conditions.read({KEY: damaged})


@pytest.mark.parametrize("rate", [25, 22.8, 27.4, None])
@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (640, 368), (160, 90)])
def test_clips_that_are_like_the_training_clips(size, rate):
    assert ONE.differences(size, rate) == []


@pytest.mark.parametrize("rate", [10, 22.6, 27.6, 50])
def test_another_rate(rate):
    assert ONE.differences((640, 360), rate) == [f"{rate} frames/s (training: 25)"]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((640, 480), "640x480 landscape (training: 640x360 landscape)"),
        ((360, 640), "360x640 portrait (training: 640x360 landscape)"),
        ((480, 480), "480x480 square (training: 640x360 landscape)"),
        ((640, 340), "640x340 landscape (training: 640x360 landscape)"),
    ],
)
def test_another_shape(size, words):
    assert ONE.differences(size, 25.0) == [words]


def test_the_nearest_training_clip_counts():
    assert TWO.differences((640, 360), 10.5) == TWO.differences((500, 500), 24.0) == []
    assert TWO.differences((360, 640), 50.0) == [
        "50 frames/s (training: 10 to 25)",
        "360x640 portrait (training: 480x480 square to 640x360 landscape)",
    ]
    assert Conditions.of([clip(fps=None)]).differences((640, 360), 50.0) == [], "nothing is known of their rate"


def test_a_video_is_unlike_images_of_a_range():
    deep = Conditions.of([clip(depth=(7320.0, 9040.0))])
    told = "a video (training: images with 7320 to 9040 as 0 to 255)"
    assert deep.differences((640, 360), 25.0, video=True) == [told]
    assert deep.differences((640, 360), 25.0) == ONE.differences((640, 360), 25.0, video=True) == []


def test_orientation_within_the_tolerance_of_the_shape():
    nearly_square = Conditions.of([clip(500, 490)])
    assert nearly_square.differences((490, 500), 25.0) == ["490x500 portrait (training: 500x490 landscape)"]
    assert nearly_square.differences((495, 495), 25.0) == []


@pytest.mark.parametrize(
    ("step", "rate", "trained", "matched"),
    [(3, 25, 25, 3), (3, 50, 25, 6), (3, 30, 25, 4), (3, 10, 25, 1), (3, 1, 25, 1), (1, 37.5, 25, 2), (5, 12.5, 25, 3)],
)
def test_the_step_keeps_the_time_between_frames(step, rate, trained, matched):
    assert matched_step(step, rate, trained) == matched
    # No other whole number of frames is nearer to the time between frames in training.
    errors = {other: abs(other / rate - step / trained) for other in range(1, 20)}
    assert errors[matched] == pytest.approx(min(errors.values()))


def test_offsets_of_another_step():
    assert frame_step((-3, 0, 3)) == 3 and with_step((-3, 0, 3), 6) == (-6, 0, 6)
    assert with_step((-4, -2, 0, 2, 4), 1) == (-2, -1, 0, 1, 2)
    assert frame_step((0,)) == 0 and with_step((0,), 5) == (0,)
    assert TWO.nearest_rate(20) == 25.0 and TWO.nearest_rate(12) == 10.0
