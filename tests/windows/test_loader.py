import mmap
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_max_pool2d

from vadistill.errors import InputError
from vadistill.io import maps
from vadistill.io.frames import FrameStore, write_frames, write_images
from vadistill.io.hdf5 import writing
from vadistill.io.maps import MapStore
from vadistill.io.resize import resize
from vadistill.windows import shared_frames
from vadistill.windows.loader import FrameWindows, loader

LENGTHS = {"a": 9, "b": 2, "c": 5}
NAMES = list(LENGTHS)


@pytest.fixture
def stores(tmp_path):
    """Clips whose pixels are 50 x clip + frame, with maps of the same values."""
    paths, values = [], {}
    for index, (clip, length) in enumerate(LENGTHS.items()):
        source = tmp_path / clip
        source.mkdir()
        for t in range(length):
            cv2.imwrite(str(source / f"{t}.png"), np.full((20, 30, 3), 50 * index + t, np.uint8))
        paths.append(tmp_path / f"{clip}.h5")
        write_frames(paths[-1], clip, "train", source, "png")
        values[clip] = 0.1 * index + 0.01 * np.arange(length)
    with writing(tmp_path / "maps.h5") as file:
        for clip, value in values.items():
            grids = {g: np.broadcast_to(value[:, None, None], (len(value), g, g)) for g in (1, 4)}
            maps.write_clip(file, clip, grids)
    return paths, tmp_path / "maps.h5"


def expected(index):
    clip = next(i for i in range(3) if index < sum(list(LENGTHS.values())[: i + 1]))
    t = index - sum(list(LENGTHS.values())[:clip])
    length = LENGTHS[NAMES[clip]]
    return [50 * clip + (s if 0 <= s < length else t) for s in (t - 3, t, t + 3)], clip, t


@pytest.mark.parametrize("workers", [0, 1])
def test_order_of_frames_and_border_rule_are_the_same_everywhere(stores, workers):
    paths, map_path = stores
    maps_of = {"teacher": MapStore([map_path])}
    windows = FrameWindows(paths, (20, 30), (-3, 0, 3), maps_of, (1, 4))
    assert len(windows) == sum(LENGTHS.values())
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0)).tolist()
    seen = []
    for frames, targets in loader(windows, order, 5, workers):
        assert frames.dtype == torch.uint8 and frames.shape[1:] == (9, 20, 30)
        for row, frame in enumerate(frames):
            values, clip, t = expected(order[len(seen)])
            assert frame[::3, 10, 10].tolist() == values
            assert targets["teacher"][4][row].shape == (1, 4, 4)
            assert targets["teacher"][1][row].item() == pytest.approx(0.1 * clip + 0.01 * t, abs=1e-3)
            seen.append(order[len(seen)])
    assert seen == order


def test_an_epoch_takes_every_nth_frame_and_all_frames_in_turn(stores):
    windows = FrameWindows(stores[0], (20, 30), (-3, 0, 3))
    orders = [windows.epoch_order(epoch, 4, torch.Generator().manual_seed(epoch)) for epoch in range(4)]
    assert sorted(index for order in orders for index in order) == list(range(len(windows)))
    assert {len(order) for order in orders} == {4}


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_runs_are_neighbours_of_one_clip_and_every_frame_comes_once(stores, stride):
    windows = FrameWindows(stores[0], (20, 30), (-3, 0, 3), held_out={"c": 0.6})
    for cycle in range(5):
        orders = [
            windows.epoch_order(epoch, stride, torch.Generator().manual_seed(epoch), run=4)
            for epoch in range(cycle * stride, (cycle + 1) * stride)
        ]
        assert sorted(index for order in orders for index in order) == windows.drawn.tolist()
        for order in orders:
            breaks = sum(after != before + 1 for before, after in pairwise(order))
            assert breaks < -(-7 // stride), "three runs of a, at most two of b and of c"
    first, other = (windows.epoch_order(epoch, 1, torch.Generator().manual_seed(0), run=4) for epoch in (0, 1))
    assert first != other, "runs begin elsewhere in the next epoch"


def test_runs_of_one_frame_are_single_frames_as_before(stores):
    windows = FrameWindows(stores[0], (20, 30), (-3, 0, 3), held_out={"a": 0.5})
    for epoch in range(4):
        order = windows.epoch_order(epoch, 3, torch.Generator().manual_seed(epoch))
        chosen = windows.drawn[epoch % 3 :: 3]
        assert order == chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(epoch))].tolist()


def test_each_frame_of_a_run_is_decoded_once(tmp_path, monkeypatch):
    images = (np.full((20, 30, 3), t, np.uint8) for t in range(40))
    write_images(tmp_path / "clip.h5", "clip", "train", images)
    windows, read = FrameWindows([tmp_path / "clip.h5"], (20, 30), (-3, 0, 3)), []
    original = FrameStore.read
    monkeypatch.setattr(FrameStore, "read", lambda store, t: read.append(t) or original(store, t))
    made = [windows[t][0][::3, 0, 0].tolist() for t in range(10, 26)]
    assert made == [[t - 3, t, t + 3] for t in range(10, 26)]
    assert sorted(read) == list(range(7, 29)), "22 frames for 16 windows"


@pytest.mark.parametrize("workers", [0, 2])
def test_kept_frames_are_decoded_once_in_all_processes_and_epochs(stores, workers, monkeypatch):
    plain = FrameWindows(stores[0], (24, 30), (-3, 0, 3))
    windows, read = FrameWindows(stores[0], (24, 30), (-3, 0, 3), keep=True), np.frombuffer(mmap.mmap(-1, 16), np.uint8)
    original = FrameStore.read

    def counted(store, t):
        read[sum(list(LENGTHS.values())[: NAMES.index(store.clip)]) + t] += 1
        return original(store, t)

    expected_frames = torch.stack([plain[t][0] for t in range(16)])
    monkeypatch.setattr(FrameStore, "read", counted)
    first = None
    for order in (range(15, -1, -1), range(16)):
        found = torch.cat([frames for frames, *_ in loader(windows, list(order), 4, workers)])
        assert torch.equal(found, expected_frames[list(order)])
        # Of two processes both may want a frame before it is there.
        assert read.min() == 1 and read.max() <= max(1, workers)
        first = read.copy() if first is None else first
    assert (read == first).all(), "the second epoch decodes nothing"


def test_more_frames_than_fit_are_not_kept(stores, monkeypatch):
    monkeypatch.setattr(shared_frames, "MOST_BYTES", 16 * 3 * 24 * 30 - 1)
    assert shared_frames.shared_frames(16, (24, 30)) is None
    windows = FrameWindows(stores[0], (24, 30), (-3, 0, 3), keep=True)
    assert torch.equal(windows[4][0], FrameWindows(stores[0], (24, 30), (-3, 0, 3))[4][0])


def test_missing_or_short_maps_name_the_clip(stores, tmp_path):
    paths, map_path = stores
    with writing(tmp_path / "less.h5") as file:
        maps.write_clip(file, "a", {1: np.zeros((9, 1, 1))})
        maps.write_clip(file, "b", {1: np.zeros((1, 1, 1))})
    with pytest.raises(InputError, match="clip b: teacher has maps of 1 frames, expected 2"):
        FrameWindows(paths, (20, 30), (-3, 0, 3), {"teacher": MapStore([tmp_path / "less.h5"])}, (1,))
    with pytest.raises(InputError, match="clip a has no maps of 16x16 cells"):
        MapStore([map_path]).read("a", (16,))


def test_maps_survive_half_precision(tmp_path):
    values = np.random.default_rng(0).random((40, 16, 16)).astype(np.float32)
    with writing(tmp_path / "maps.h5") as file:
        maps.write_clip(file, "clip", {16: values}, score=values.max((1, 2)), objects=3)
    store = MapStore([tmp_path / "maps.h5"])
    np.testing.assert_allclose(store.read("clip", (16,))[16], values, atol=5e-4)
    np.testing.assert_array_equal(store.score("clip"), values.max((1, 2)))
    assert (store.clips(), store.frames, store.resolutions("clip")) == (["clip"], {"clip": 40}, [16])
    pooled = adaptive_max_pool2d(torch.from_numpy(values), 4).numpy()
    np.testing.assert_array_equal(values.reshape(40, 4, 4, 4, 4).max((2, 4)), pooled)


def test_resizing_keeps_height_and_width_apart():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 200
    made = resize(image, (10, 30))
    assert made.shape == (10, 30, 3) and made[:, :14].max() == 0 and made[:, 16:].min() == 200


def test_shrunk_frames_are_means_over_areas():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    areas = image.reshape(8, 5, 10, 6, 3).mean((1, 3))
    np.testing.assert_allclose(resize(image, (8, 10)), areas, atol=0.51)


def test_held_out_frames_are_not_drawn(stores):
    paths, _ = stores
    windows = FrameWindows(paths, (20, 30), (0,), held_out={"a": 0.5, "b": 0.0, "other": 0.0})
    drawn = [windows.epoch_order(epoch, 2, torch.Generator().manual_seed(epoch)) for epoch in range(2)]
    # Five of the nine frames of a, none of b, all five of c, which begins at frame 11.
    assert sorted(drawn[0] + drawn[1]) == [*range(5), *range(11, 16)]
    assert len(windows) == 16


def test_workers_measure_flow_whatever_threads_opencv_has_here(stores):
    """A process that is forked off lacks them: OpenCV waited for their end forever when it was told to use one."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(8)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000), np.uint8), (31, 31), 5)  # starts them
        windows = FrameWindows(stores[0], (40, 50), (-1, 0, 1), flow="medium")
        batches = loader(windows, range(len(windows)), 4, workers=2)
        batches.timeout = 60
        assert sum(len(made) for made, *_ in batches) == len(windows)
    finally:
        cv2.setNumThreads(before)
