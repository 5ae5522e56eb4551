import cv2
import numpy as np
import pytest
from stored_clips import FRAMES, HEIGHT, WIDTH, numbered_clip, store_of

from vadistill.teachers import crops as crops_module
from vadistill.teachers.crops import ClipCrops, CropRequest

OFFSETS = (-3, -2, -1, 0, 1, 2, 3)
BOX = np.array([[10, 5, 40, 50]], np.float32)


@pytest.fixture
def numbered(tmp_path):
    return numbered_clip(tmp_path)


@pytest.mark.parametrize(("t", "centre"), [(0, 3), (2, 3), (3, 3), (15, 15), (36, 36), (39, 36)])
def test_windows_hold_the_right_frames_and_are_clamped_at_the_borders(numbered, t, centre):
    crops = ClipCrops(numbered, CropRequest(32, colour=OFFSETS, gray=(0,)))
    made = crops.cut(t, np.array([[10, 5, 40, 50]], np.float32), np.random.default_rng(0))
    assert made["colour"].shape == (1, 7, 3, 32, 32) and made["gray"].shape == (1, 1, 32, 32)
    assert made["colour"][0, :, 1, 16, 16].tolist() == [centre + k for k in OFFSETS]
    assert made["colour"][0, :, 0, 16, 16].tolist() == [2 * (centre + k) for k in OFFSETS]


def test_irregular_sequences_keep_the_middle_frame_and_skip_at_least_one(numbered):
    crops = ClipCrops(numbered, CropRequest(32, colour=OFFSETS, irregular=4))
    made = crops.cut(20, np.tile(np.array([[10, 5, 40, 50]], np.float32), (50, 1)), np.random.default_rng(0))
    times = made["irregular"][:, :, 1, 16, 16].astype(int)
    steps = np.diff(times, axis=1)
    inside = (times > 0) & (times < FRAMES - 1)
    assert (times[:, 3] == 20).all()
    assert ((steps >= 2) & (steps <= 5))[inside[:, 1:] & inside[:, :-1]].all()
    assert len({tuple(row) for row in times}) > 10


def test_a_crop_is_the_box_resized(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    store = store_of(tmp_path, "noise", [image] * 8)
    made = ClipCrops(store, CropRequest(32, colour=(0,))).cut(4, np.array([[8, 4, 40, 36]], np.float32), rng)
    np.testing.assert_array_equal(made["colour"][0, 0].transpose(1, 2, 0), image[4:36, 8:40])


@pytest.mark.parametrize(
    "box", [[-5, -5, 3, 3], [88, 58, 95, 70], [20, 20, 20.4, 20.4], [0, 0, 90, 60], [89.5, 0, 91, 60]]
)
def test_boxes_at_the_border_and_tiny_ones_give_crops(numbered, box):
    request = CropRequest(32, colour=OFFSETS, gray=(0,), flow=(-3, 3))
    made = ClipCrops(numbered, request).cut(5, np.array([box], np.float32), np.random.default_rng(0))
    assert made["colour"].shape == (1, 7, 3, 32, 32)
    assert made["flow"].shape == (1, 2, 2, 32, 32) and made["flow"].dtype == np.float16


def coordinates(folder, frames=8):
    """A clip whose blue channel is x and whose green channel is y."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    return store_of(folder, "coordinates", [image] * frames)


@pytest.mark.parametrize(
    ("box", "context", "aspect", "window"),
    [
        ([20, 10, 40, 30], 0.5, "stretch", [10, 0, 50, 40]),
        ([20, 20, 30, 40], 0.1, "stretch", [19, 18, 31, 42]),
        ([60, 30, 80, 50], 1.0, "stretch", [40, 10, 90, 60]),
        ([40, 10, 50, 40], 0.0, "keep", [30, 10, 60, 40]),
        ([40, 20, 60, 30], 0.5, "keep", [30, 5, 70, 45]),
        ([0, 10, 10, 40], 0.0, "keep", [0, 10, 30, 40]),
        ([85, 40, 90, 60], 0.0, "keep", [70, 40, 90, 60]),
        ([10, 0, 90, 60], 0.0, "keep", [10, 0, 90, 60]),
        ([30, 0, 40, 60], 1.0, "keep", [0, 0, 90, 60]),
    ],
)
def test_windows_by_hand(tmp_path, box, context, aspect, window):
    request = CropRequest(32, colour=(0,), context=context, aspect=aspect)
    made = ClipCrops(coordinates(tmp_path), request).cut(4, np.array([box], np.float32), np.random.default_rng(0))
    x1, y1, x2, y2 = window
    across, down = (made["colour"][0, 0, channel].astype(float) for channel in (0, 1))
    # The mean of all pixel numbers and the reach of the outer columns and rows tell the window.
    np.testing.assert_allclose([across.mean(), down.mean()], [(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2], atol=0.3)
    steps = np.array([x2 - x1, y2 - y1]) / 32
    found = [across[:, -1].mean() - across[:, 0].mean(), down[-1].mean() - down[0].mean()]
    np.testing.assert_allclose(found, 31 * steps, atol=1.6)


def test_an_upright_figure_keeps_its_shape(tmp_path):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[10:42, 40:48] = 255
    store = store_of(tmp_path, "figure", [image] * 8)
    box = np.array([[40, 10, 48, 42]], np.float32)
    kept, stretched = (
        ClipCrops(store, CropRequest(32, gray=(0,), aspect=aspect)).cut(4, box, np.random.default_rng(0))["gray"][0, 0]
        for aspect in ("keep", "stretch")
    )
    assert (kept[16] > 128).sum() == 8 and (kept[:, 16] > 128).all()
    assert (stretched == 255).all()


@pytest.mark.parametrize("t", [0, 1, 2, 3, 15, 37, 39])
def test_repeated_borders_show_the_object_s_own_frame(numbered, t):
    request = CropRequest(32, colour=OFFSETS, gray=(-3, 3), irregular=4, border="repeat")
    made = ClipCrops(numbered, request).cut(t, np.tile(BOX, (20, 1)), np.random.default_rng(0))
    expected = [t + k if 0 <= t + k < FRAMES else t for k in OFFSETS]
    assert made["colour"][0, :, 1, 16, 16].tolist() == expected
    times = made["irregular"][:, :, 1, 16, 16].astype(int)
    assert (times[:, 3] == t).all()
    left, right = times[:, 2::-1] - t, times[:, 4:] - t
    for outwards in (-left, right):  # once a neighbour is missing, so are those behind it
        assert ((outwards == 0) | (outwards >= 2)).all()
        assert (np.diff((outwards == 0).astype(int), axis=1) >= 0).all()


def moving(folder, frames=12, name="moving"):
    """Texture that moves right by two pixels a frame."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).random((HEIGHT, 300, 3)), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return store_of(folder, name, [texture[:, 100 - 2 * t : 100 - 2 * t + WIDTH] for t in range(frames)])


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_flow_is_that_of_the_motion_and_zero_beyond_repeated_ends(tmp_path, method):
    crops = ClipCrops(moving(tmp_path), CropRequest(32, flow=(-3, 3), border="repeat", flow_method=method))
    box = np.array([[30, 10, 60, 50]], np.float32)
    first, middle, last = (crops.cut(t, box, np.random.default_rng(0))["flow"][0].astype(float) for t in (2, 6, 11))
    assert (first[0] == 0).all() and (last[1] == 0).all()
    for field, pixels in ((first[1], 6), (middle[0], -6), (middle[1], 6), (last[0], -6)):
        np.testing.assert_allclose(np.median(field, axis=(1, 2)), [pixels, 0], atol=0.5)


@pytest.mark.parametrize("border", ["clamp", "repeat"])
def test_every_flow_is_computed_once_and_let_go(tmp_path, monkeypatch, border):
    store, pairs = moving(tmp_path), []
    computed = crops_module._dense_flow("dis")

    def counting(method):
        return lambda start, end: pairs.append((start.tobytes(), end.tobytes())) or computed(start, end)

    monkeypatch.setattr(crops_module, "_dense_flow", counting)
    crops = ClipCrops(store, CropRequest(32, flow=(-3, 3), border=border))
    for t in [*range(12), 11]:
        crops.cut(t, BOX, np.random.default_rng(0))
        assert len(crops._flows) <= 2 and len(crops._frames) <= 7
    assert len(pairs) == len(set(pairs)) == (12 if border == "clamp" else 18)


def test_unknown_flow_is_refused(numbered):
    with pytest.raises(ValueError, match="'x'; expected dis or farneback"):
        ClipCrops(numbered, CropRequest(32, flow=(3,), flow_method="x"))
