import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.inference import view as module
from vadistill.inference.view import (
    SIZE,
    Background,
    NormalView,
    ScoreCheck,
    State,
    ViewCheck,
    intervals,
    small_picture,
)

RATE = 10  # frames a second
HEIGHT, WIDTH = 180, 320  # a sample each, so that small pictures are plain means


def scene(seed=0, shape=(HEIGHT, WIDTH)):
    """A picture with edges of all sizes, gray levels 40 to 215."""
    rng = np.random.default_rng(seed)
    layers = [np.kron(rng.random((shape[0] // s, shape[1] // s)), np.ones((s, s))) for s in (20, 10, 4)]
    return (40 + 175 * np.mean(layers, axis=0)).astype(np.float32)


NOISE = np.random.default_rng(0).normal(0, 3, (HEIGHT, WIDTH, 3)).astype(np.float32)  # drawing it takes long


def frames(count, picture=None, seed=0, walker=True):
    """A scene with the noise of a camera, one that is moved about, and somebody who walks through it."""
    picture, rng = scene() if picture is None else picture, np.random.default_rng(seed)
    for t in range(count):
        frame = picture.copy()
        if walker:
            x = 3 * t % (WIDTH - 20)
            frame[80:140, x : x + 20] = 10
        frame = frame[..., None] + np.roll(NOISE, rng.integers(HEIGHT), 0)
        yield np.clip(np.rint(frame), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def view():
    return NormalView.of(frames(150))


def said(check, given, start=0.0, rate=RATE):
    return [check.update(frame, start + t / rate) for t, frame in enumerate(given)]


def late(states, state):
    """Seconds until a state is said."""
    return states.index(state) / RATE


def test_a_small_picture_is_the_mean_of_samples():
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    expected = [[frame[2 * y : 2 * y + 2, 2 * x : 2 * x + 2, 1].mean() for x in range(SIZE[1])] for y in range(SIZE[0])]
    np.testing.assert_array_equal(small_picture(frame), np.array(expected, np.float32))


@pytest.mark.parametrize("shape", [(158, 238), (360, 640), (1080, 1920), (1, 1), (7, 1000)])
def test_a_frame_of_any_size_becomes_a_small_picture(shape):
    """A slope is the same slope in every size."""
    slope = np.linspace(0, 255, shape[1])[None, :, None]
    small = small_picture(np.broadcast_to(slope, (*shape, 3)).astype(np.uint8))
    assert small.shape == SIZE and small.dtype == np.float32
    if min(shape) > 1:
        np.testing.assert_allclose(small[0], np.linspace(0, 255, SIZE[1]), atol=3)


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(InputError, match=r"a frame is .* expected \(height, width, 3\) uint8"):
        small_picture(frame)


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, -7), (-12, 25), (20, -40)])
def test_a_known_shift_is_found_to_the_pixel(shift):
    """Two views cut from one large picture."""
    large = np.random.default_rng(1).random((200, 300), np.float32) * 255
    large = (large + np.roll(large, 1, 0) + np.roll(large, 1, 1)) / 3
    cut = [large[50 - y : 140 - y, 70 - x : 230 - x] for y, x in ((0, 0), shift)]
    assert Background(cut[0]).shift(cut[1]) == shift


def test_the_response_is_that_of_its_definition():
    """The phases alone, by sums over all pixels in place of a fast transform; at a few shifts."""
    rng = np.random.default_rng(2)
    one, other = rng.random((2, *SIZE)) * 255
    window = np.outer(np.hanning(SIZE[0]), np.hanning(SIZE[1]))
    by_row, by_column = (np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) for n in SIZE)
    a, b = (by_row @ ((picture - picture.mean()) * window) @ by_column for picture in (one, other))
    crossed = b * a.conj()
    crossed /= np.abs(crossed)
    response = Background(one).response(other)
    for y, x in [(0, 0), (3, 5), (89, 159)]:
        expected = (by_row[y].conj() @ crossed @ by_column[x].conj()).real / crossed.size
        assert response[y, x] == pytest.approx(expected, abs=1e-5)


def test_light_makes_no_difference_to_the_likeness():
    picture = scene()[::2, ::2]
    background = Background(picture)
    assert background.likeness(0.5 * picture + 20) == pytest.approx(1, abs=1e-3) == background.likeness(picture)


def test_lost_edges_are_counted_by_place():
    """Covered from the top on: by loops, of the clearer half of the places."""
    picture = scene()[::2, ::2]
    covered = picture.copy()
    covered[:40] = 100

    def edges(of, y, x):
        return sum(
            (abs(of[v, u] - of[v, u - 1]) if u else 0) + (abs(of[v, u] - of[v - 1, u]) if v else 0)
            for v in range(y, y + 10)
            for u in range(x, x + 10)
        )

    places = [(edges(picture, y, x), edges(covered, y, x)) for y in range(0, 90, 10) for x in range(0, 160, 10)]
    clear = sorted(places)[len(places) // 2 :]
    expected = np.mean([now < 0.4 * usual for usual, now in clear])
    assert 0.3 < expected < 0.6 and Background(picture).blind_share(covered) == pytest.approx(expected)
    assert Background(picture).blind_share(0.5 * picture) == 0
    assert Background(picture).blind_share(0.3 * picture) == 1


def test_a_usual_stream_is_usual(view):
    assert {*said(ViewCheck(view), frames(300, seed=1))} == {State.USUAL}


ALTERED = {
    "black": (State.DARK, np.zeros_like),
    "night": (State.DARK, lambda frame: frame // 7),
    "gray": (State.COVERED, lambda frame: np.full_like(frame, 120)),
    "sprayed": (State.COVERED, lambda frame: np.where(np.arange(WIDTH)[:, None] < 0.8 * WIDTH, np.uint8(60), frame)),
    "moved": (State.MOVED, lambda frame: np.roll(frame, 16, axis=1)),
    "elsewhere": (State.MOVED, lambda frame: next(frames(1, scene(7)))),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_state_is_said_after_a_while_and_taken_back_after_a_while(name, view):
    state, alter = ALTERED[name]
    check = ViewCheck(view, hold=4)
    assert {*said(check, frames(100))} == {State.USUAL}
    altered = said(check, map(alter, frames(150)), 10)
    assert {*altered} == {State.USUAL, state} and 3.4 <= late(altered, state) <= 4
    back = said(check, frames(100), 25)
    assert {*back} == {State.USUAL, state} and 3.4 <= late(back, State.USUAL) <= 4


@pytest.mark.parametrize("noise", [0, 1])
def test_a_frozen_picture_is_said_with_and_without_what_coding_adds(noise, view):
    rng, frame = np.random.default_rng(0), next(frames(1))
    check = ViewCheck(view, hold=4, still=8)
    given = ((frame + rng.integers(-noise, noise + 1, frame.shape)).astype(np.uint8) for _ in range(200))
    states = said(check, given)
    assert {*states} == {State.USUAL, State.FROZEN} and 11.4 <= late(states, State.FROZEN) <= 12


def test_a_still_scene_is_not_frozen(view):
    """Nobody moves, and the light stays; only the sensor lives."""
    assert {*said(ViewCheck(view), frames(300, seed=1, walker=False))} == {State.USUAL}


def test_repeated_pictures_are_frozen_only_when_they_last(view):
    """As of a camera of 12 frames/s in a stream of 25, or one that sends nothing new for 5 seconds."""
    given = [frame for frame in frames(20) for _ in range(50)]
    assert {*said(ViewCheck(view), given)} == {State.USUAL}


def test_a_view_of_repeated_pictures_finds_repeated_pictures_frozen():
    """There the smallest change is none, so that only one and the same picture is frozen."""
    view = NormalView.of(frame for frame in frames(60) for _ in range(2))
    assert view.change == 0
    assert said(ViewCheck(view), [next(frames(1))] * 200)[-1] == State.FROZEN
    assert {*said(ViewCheck(view), frames(200))} == {State.USUAL}


def test_somebody_who_passes_close_to_the_lens_covers_nothing(view):
    covered = [np.full((HEIGHT, WIDTH, 3), 120, np.uint8)] * 30
    check = ViewCheck(view, hold=5)
    assert {*said(check, [*frames(80), *covered, *frames(80), *covered, *frames(80)])} == {State.USUAL}


def test_flicker_toggles_nothing(view):
    """Every second look is dark: neither said while it was usual, nor taken back while it is dark."""
    check = ViewCheck(view)
    flicker = [frame * np.uint8(t // 2 % 2) for t, frame in enumerate(frames(300))]
    assert {*said(check, flicker)} == {State.USUAL}
    assert said(check, [np.zeros_like(frame) for frame in frames(100)], 30)[-1] == State.DARK
    assert {*said(check, flicker, 40)} == {State.DARK}


def test_two_states_by_turns_are_one(view):
    black, gray = (np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in (0, 120))
    states = said(ViewCheck(view), [(black, gray)[t // 6 % 2] for t in range(400)])
    assert [state for t, state in enumerate(states) if t == 0 or states[t - 1] != state] in (
        [State.USUAL, State.DARK],
        [State.USUAL, State.COVERED],
    )


@pytest.mark.parametrize("jump", [100.0, -100.0])
def test_after_a_jump_in_time_seconds_are_counted_anew(jump, view):
    black = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 45
    check = ViewCheck(view, hold=5)
    assert {*said(check, black), *said(check, black, jump)} == {State.USUAL}
    assert said(check, black, jump + 4.5)[-1] == State.DARK


def test_frames_between_looks_are_not_looked_at(view, monkeypatch):
    looked = []
    monkeypatch.setattr(module, "small_picture", lambda frame: looked.append(frame) or small_picture(frame))
    said(ViewCheck(view), frames(100), rate=50)
    assert len(looked) == 10


def test_another_size_of_the_same_view_is_usual(view):
    large = (np.kron(frame, np.ones((3, 3, 1), np.uint8)) for frame in frames(80))
    assert {*said(ViewCheck(view), large)} == {State.USUAL}


@pytest.mark.parametrize("level", [0, 100, 255])
def test_a_camera_that_shows_nothing_is_only_frozen(level):
    """Nothing is divided by zero."""
    flat = [np.full((30, 40, 3), level, np.uint8)] * 200
    with np.errstate(all="raise"):
        assert {*said(ViewCheck(NormalView.of(flat)), flat)} == {State.USUAL, State.FROZEN}


def test_a_view_is_the_median_of_its_frames_and_their_lowest_values():
    given = list(frames(90))
    view = NormalView.of(iter(given))
    small = np.stack([small_picture(frame) for frame in given])
    np.testing.assert_array_equal(view.background, np.median(small, axis=0))
    assert view.frames == 90 and view.brightness == pytest.approx(np.percentile(small.mean((1, 2)), 1), rel=1e-5)
    changes = np.sort(np.abs(np.diff(small, axis=0)).reshape(89, -1), axis=1)[:, -72]
    assert view.change == pytest.approx(np.percentile(changes, 1))


@pytest.mark.parametrize("count", [module.KEPT - 1, module.KEPT, module.KEPT + 1, 1000, 1601])
def test_frames_of_a_view_are_spread_evenly_and_few(count, monkeypatch):
    """A frame's level tells which one it is; changes are those to the frame before."""
    monkeypatch.setattr(module, "KEPT", 50)
    stacks, changes = [], []
    monkeypatch.setattr(np, "stack", lambda arrays, real=np.stack: stacks.append(arrays) or real(arrays))
    change = module._change
    monkeypatch.setattr(module, "_change", lambda a, b: changes.append(b[0, 0] - a[0, 0]) or change(a, b))
    coded = (np.full((2, 2, 3), t % 251, np.uint8) for t in range(count))
    NormalView.of(coded)
    kept = [int(picture[0, 0]) for picture in stacks[0]]
    step = (kept[1] - kept[0]) % 251
    assert 25 <= len(kept) < 50 and kept == [t * step % 251 for t in range(len(kept))]
    assert (len(kept) - 1) * step < count <= (len(kept)) * step + step
    assert {*changes} <= {1, -250}


def test_memory_is_bounded(view, monkeypatch):
    """However many frames there are; without them, which are one and the same here."""
    monkeypatch.setattr(module, "KEPT", 20)
    given = list(frames(20))
    used = []
    for count in (80, 320):
        tracemalloc.start()
        check = ViewCheck(view)
        for t in range(count):
            check.update(given[t % 20], t / 5)
        NormalView.of(given[t % 20] for t in range(count))
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert used[1] < 1.2 * used[0] < 10e6


def test_too_few_frames_are_refused():
    with pytest.raises(InputError, match="1 normal frames; expected at least two"):
        NormalView.of(frames(1))
    with pytest.raises(InputError, match="0 normal frames"):
        NormalView.of([])


def test_a_view_is_kept_in_arrays(view, tmp_path):
    np.savez(tmp_path / "view.npz", **view.to_arrays())
    assert (tmp_path / "view.npz").stat().st_size < 100_000
    with np.load(tmp_path / "view.npz", allow_pickle=False) as arrays:
        read = NormalView.from_arrays(arrays)
    np.testing.assert_array_equal(read.background, view.background)
    assert (read.brightness, read.likeness, read.change, read.frames) == (
        *(view.brightness, view.likeness, view.change),
        150,
    )


@pytest.mark.parametrize(
    "wrong", [{"background": np.zeros((3, 3))}, {"change": np.array(np.nan)}, {"brightness": np.zeros(3)}]
)
def test_damaged_arrays_are_refused(wrong, view):
    with pytest.raises(InputError, match="record of the normal view is damaged"):
        NormalView.from_arrays(view.to_arrays() | wrong)
    with pytest.raises(InputError, match="record of the normal view is damaged"):
        NormalView.from_arrays({})


@pytest.mark.parametrize("seconds", [{"hold": 0}, {"still": -1}, {"hold": float("nan")}])
def test_times_that_make_no_sense_are_refused(seconds, view):
    with pytest.raises(InputError, match="expected seconds above 0"):
        ViewCheck(view, **seconds)


def test_scores_are_checked_by_their_median():
    """Against the median of the window itself, where it is not near the level."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.random(1000), 0.6 + rng.random(1500), rng.random(2000)])
    check, window = ScoreCheck(0.95, window=60), 600
    states = [check.update(score, t / RATE) for t, score in enumerate(scores)]
    assert {*states[:600]} == {State.USUAL} and State.SCORES in states
    for t in range(window, len(scores)):
        low, high = np.percentile(scores[t - window : t + 1], [47, 63])
        if low > 0.95:
            assert states[t] == State.SCORES
        if high < 0.95:
            assert states[t] == State.USUAL
    assert len(check._parts) <= module.PARTS + 1


def test_scores_say_nothing_before_a_window_is_full_and_after_a_gap():
    check = ScoreCheck(0.5, window=10)
    assert {check.update(1, t / 10) for t in range(100)} == {State.USUAL}
    assert check.update(1, 10.0) == State.SCORES
    check = ScoreCheck(0.5, window=10)
    assert {check.update(1, t) for t in (*range(10), *range(50, 60), *range(10))} == {State.USUAL}


def test_a_level_is_a_finite_score():
    with pytest.raises(InputError, match="expected a finite score"):
        ScoreCheck(float("nan"))


def test_intervals_are_half_open_runs():
    states = [State.USUAL, State.DARK, State.DARK, State.MOVED, State.USUAL, State.FROZEN]
    assert [*intervals(states)] == [(State.DARK, 1, 3), (State.MOVED, 3, 4), (State.FROZEN, 5, 6)]
    assert [*intervals([])] == [] == [*intervals([State.USUAL])]


def test_numpy_alone_is_needed():
    code = (
        "import sys, vadistill.inference.view as view; "
        "print({m.partition('.')[0] for m in sys.modules} & {'cv2', 'torch', 'scipy', 'av', 'h5py'})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
