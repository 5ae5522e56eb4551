"""Motion by cells: against loops over pixels and flows of their own, at a clip's ends, at other sizes; its files."""

import subprocess
import sys
from argparse import Namespace

import cv2
import numpy as np
import pytest
from stored_clips import store_of

from vadistill.detection.motion import Flow, motion_of_clip
from vadistill.geometry.flow import dis_flow
from vadistill.geometry.motion import by_cell, cell_edges
from vadistill.io.motion import read_shards
from vadistill.io.window import window_indices
from vadistill.settings import MotionConfig, canonical
from vadistill.stages import compute_motion

HEIGHT, WIDTH, SIDE, SPEED = 60, 90, 16, 2
SMALL = MotionConfig(step=2, rows=5, columns=6)


@pytest.fixture(autouse=True)
def one_thread():
    """DIS depends on their number."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def sliding_square(frames, scale=1):
    """A textured square that moves to the right by ``SPEED`` pixels a frame, over a still, textured ground."""
    rng = np.random.default_rng(0)
    ground, square = (
        cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.float32), (0, 0), 1.5)
        for shape in ((HEIGHT, WIDTH), (SIDE, SIDE))
    )
    for t in range(frames):
        image = ground / 2
        image[20 : 20 + SIDE, 10 + SPEED * t : 10 + SPEED * t + SIDE] = 120 + square
        image = cv2.resize(image.clip(0, 255).astype(np.uint8), None, fx=scale, fy=scale)
        yield np.repeat(image[:, :, None], 3, 2)


@pytest.mark.parametrize(("rows", "columns"), [(5, 6), (7, 11), (1, 1), (13, 17)])
def test_cells_hold_mean_and_highest_speed_of_their_pixels(rows, columns):
    flow = np.random.default_rng(0).normal(size=(13, 17, 2)).astype(np.float32)
    mean, highest = by_cell(flow, rows, columns)
    assert mean.shape == (rows, columns, 2) and highest.shape == (rows, columns)
    down, across = cell_edges(13, rows), cell_edges(17, columns)
    assert (down[0], down[-1], across[0], across[-1]) == (0, 13, 0, 17)
    for r in range(rows):
        for c in range(columns):
            pixels = flow[down[r] : down[r + 1], across[c] : across[c + 1]].reshape(-1, 2).astype(np.float64) / 13
            np.testing.assert_allclose(mean[r, c], pixels.mean(0), atol=1e-6)
            np.testing.assert_allclose(highest[r, c], np.linalg.norm(pixels, axis=1).max(), rtol=1e-5)


def test_a_cell_smaller_than_a_pixel_shows_the_pixel_that_it_lies_in():
    flow = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    mean, _ = by_cell(flow, 4, 6)
    np.testing.assert_allclose(mean, 0.5 * flow.repeat(2, 0).repeat(3, 1))


def test_flow_leads_to_the_earlier_and_the_later_frame_and_at_the_ends_to_those_of_the_nearest_whole_window(tmp_path):
    frames = 9
    images = list(sliding_square(frames))
    made = motion_of_clip(store_of(tmp_path, "clip", images), SMALL)
    assert made.clip == "clip" and made.size == (HEIGHT, WIDTH) and len(made) == frames
    assert made.mean.shape == (frames, 2, 5, 6, 2) and made.highest.shape == (frames, 2, 5, 6)
    gray = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images]
    for t in range(frames):
        centre = min(max(t, 2), frames - 3)
        for direction, other in enumerate((centre - 2, centre + 2)):
            mean, highest = by_cell(dis_flow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)(gray[centre], gray[other]), 5, 6)
            np.testing.assert_array_equal(made.mean[t, direction], mean.astype(np.float16))
            np.testing.assert_array_equal(made.highest[t, direction], highest.astype(np.float16))
    moving = made.highest[4, 1] * HEIGHT > 2
    assert moving.any() and not moving[0].any() and not moving[-1].any()
    np.testing.assert_allclose(made.highest[4].max((1, 2)) * HEIGHT, 2 * SPEED, rtol=0.3)
    assert made.mean[4, 0, ..., 0].min() < -0.02 and made.mean[4, 1, ..., 0].max() > 0.02, "back and forth"


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_clip_shorter_than_a_window_has_motion_to_the_frames_that_there_are(frames, tmp_path):
    made = motion_of_clip(store_of(tmp_path, "clip", sliding_square(frames)), SMALL)
    assert len(made) == frames and np.isfinite(made.highest).all()
    assert (made.highest.max() * HEIGHT > 1) == (frames > 1)


def test_clips_of_another_size_agree(tmp_path):
    plain, large = (
        motion_of_clip(store_of(tmp_path, f"{scale}", sliding_square(5, scale)), SMALL).highest[2] for scale in (1, 2)
    )
    shrunk = motion_of_clip(store_of(tmp_path, "shrunk", sliding_square(5, 2)), MotionConfig(2, "medium", 5, 6, HEIGHT))
    assert shrunk.size == (2 * HEIGHT, 2 * WIDTH), "that of the stored frames"
    for other in (large, shrunk.highest[2]):
        np.testing.assert_allclose(other.max((1, 2)), plain.max((1, 2)), rtol=0.2)


def test_the_stage_writes_what_the_reader_reads(tmp_path):
    stores = [store_of(tmp_path, name, sliding_square(6)) for name in ("a", "b")]
    settings = {"motion": {"step": 2, "rows": 5, "columns": 6}}
    output = tmp_path / "motion.h5"
    compute_motion.main(Namespace(settings=settings, frames=[store.path for store in stores], output=output))
    for store, read in zip(stores, read_shards([output]), strict=True):
        made = motion_of_clip(store, SMALL)
        assert (read.clip, read.size) == (store.clip, (HEIGHT, WIDTH))
        assert read.mean.dtype == read.highest.dtype == np.float16
        np.testing.assert_array_equal(read.mean, made.mean)
        np.testing.assert_array_equal(read.highest, made.highest)
    assert canonical(settings) in output.read_bytes().decode("latin-1")


def test_the_stage_needs_no_torch():
    code = "import sys, vadistill.stages.compute_motion; print({'torch', 'ultralytics'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_windows_have_the_motion_of_their_clip(tmp_path):
    store = store_of(tmp_path, "a", list(sliding_square(12)))
    whole = motion_of_clip(store, SMALL)
    windows = np.stack([[store.read(i) for i in window_indices(t, 12, (-2, 0, 2))] for t in range(12)])
    made = Flow(SMALL).of_windows(windows)
    np.testing.assert_array_equal(made.mean[2:-2], whole.mean[2:-2])
    np.testing.assert_array_equal(made.highest[2:-2], whole.highest[2:-2])
    for t, missing in ((0, 0), (1, 0), (10, 1), (11, 1)):
        np.testing.assert_array_equal(made.mean[t, missing], -made.mean[t, 1 - missing])
        assert made.speed[t].max() > 0
