import av
import numpy as np
import pytest
from stored_clips import numbered_clip

from vadistill.errors import InputError
from vadistill.evaluation.results import mean_objects
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io.hdf5 import writing
from vadistill.io.maps import MapStore, write_clip
from vadistill.io.mp4 import write_mp4
from vadistill.report.overlays import TEACHERS, Findings, Overlay, findings_of
from vadistill.report.plots import STUDENT

FRAMES, HEIGHT, WIDTH = 8, 60, 90
CAPTION = 26  # rows above the frame


def films(count, height=HEIGHT, width=WIDTH):
    """Grey frames with a white square that moves."""
    for t in range(count):
        frame = np.full((height, width, 3), 60, np.uint8)
        frame[10:20, 5 * t : 5 * t + 10] = 255
        yield frame


def read(path):
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        return stream.codec_context, stream.average_rate, [f.to_ndarray(format="bgr24") for f in film.decode(stream)]


def findings(maps=None, box=(), score=(), labels=None, masks=None, frames=FRAMES, size=(HEIGHT, WIDTH)):
    """Of a clip whose objects all stand in frame 0."""
    objects = ScoredObjects(frames, size, np.zeros(len(score), int), np.reshape(box, (-1, 4)), np.array(score))
    curves = {STUDENT: np.linspace(0, 1, frames), TEACHERS: np.linspace(1, 0, frames)}
    return Findings(np.zeros((frames, 4, 4)) if maps is None else maps, objects, curves, labels, masks)


def drawn(t=0, clip="clip", **what):
    frame = np.full((*what.get("size", (HEIGHT, WIDTH)), 3), 90, np.uint8)
    return Overlay(clip, findings(**what)).draw(t, frame)


def changed(one, other):
    """The first and last row and the first and last column in which two pictures differ."""
    rows, columns = (np.abs(one.astype(int) - other).max(2) > 30).nonzero()
    return np.array([rows.min(), rows.max(), columns.min(), columns.max()])


def test_a_detector_without_teachers_has_its_heat_and_its_curve_alone(tmp_path):
    frames = numbered_clip(tmp_path)
    grid = np.random.default_rng(0).random((len(frames), 4, 4), np.float32)
    with writing(tmp_path / "maps.h5") as file:
        write_clip(file, frames.clip, {2: grid[:, :2, :2], 4: grid}, grid.max((1, 2)))
    found = findings_of(frames, MapStore([tmp_path / "maps.h5"]), {}, 0.0, None, "sdmae")
    stored = grid.astype(np.float16).astype(np.float32)
    low, high = np.percentile(stored, (50, 99.9))
    np.testing.assert_allclose(found.maps, 0.8 * (stored - low) / (high - low), atol=1e-5)
    as_they_are = findings_of(frames, MapStore([tmp_path / "maps.h5"]), {}, 0.0, None)
    np.testing.assert_array_equal(as_they_are.maps, stored)
    assert set(found.curves) == {STUDENT} and not len(found.objects.frame) and found.legend[STUDENT] == "sdmae (heat)"
    drawn = Overlay(frames.clip, found).draw(3, frames.read(3))
    assert drawn.shape[1] % frames.width == 0 and drawn.dtype == np.uint8


@pytest.mark.parametrize(("height", "width"), [(60, 90), (61, 91), (158, 238)])
@pytest.mark.parametrize(("count", "fps"), [(8, 12.0), (1, 25.0), (5, 30000 / 1001)])
def test_a_film_is_read_back_as_it_was_written(tmp_path, count, fps, height, width):
    write_mp4(tmp_path / "a.mp4", films(count, height, width), fps)
    codec, rate, frames = read(tmp_path / "a.mp4")
    assert (codec.name, codec.pix_fmt, len(frames)) == ("h264", "yuv420p", count)
    assert float(rate) == pytest.approx(fps)
    for found, wanted in zip(frames, films(count, height, width), strict=True):
        assert found.shape == (height + height % 2, width + width % 2, 3)
        assert np.abs(found[:height, :width].astype(int) - wanted).mean() < 3


def test_a_browser_can_play_it_before_it_has_loaded_it(tmp_path):
    write_mp4(tmp_path / "a.mp4", films(8), 25)
    content = (tmp_path / "a.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_frames_are_written_as_they_come(tmp_path):
    written = []

    def frames():
        for t in range(150):
            written.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            yield np.random.default_rng(t).integers(0, 255, (120, 160, 3), np.uint8)

    write_mp4(tmp_path / "a.mp4", frames(), 25)
    assert written[-1] > (tmp_path / "a.mp4").stat().st_size / 2


def test_a_failure_leaves_no_film(tmp_path):
    def frames():
        yield from films(3)
        raise InputError("frame 3 is damaged")

    with pytest.raises(InputError, match="frame 3 is damaged"):
        write_mp4(tmp_path / "a.mp4", frames(), 25)
    with pytest.raises(InputError, match=r"a\.mp4: no frames to write"):
        write_mp4(tmp_path / "a.mp4", iter(()), 25)
    with pytest.raises(InputError, match=r"a\.mp4: cannot be written as H\.264"):
        write_mp4(tmp_path / "a.mp4", films(1, 60, 40000), 25)
    assert not list(tmp_path.iterdir())


def test_heat_lies_where_the_map_is_high():
    maps = np.zeros((FRAMES, 4, 4))
    maps[2, 1, 3] = 0.8
    plain, heated = drawn(2), drawn(2, maps=maps)
    scale = plain.shape[1] / WIDTH
    top, bottom, left, right = changed(plain, heated)
    assert top >= CAPTION + 0.5 * 15 * scale and bottom <= CAPTION + 2.5 * 15 * scale
    assert left >= 2.5 * 22.5 * scale and right == plain.shape[1] - 1
    assert (drawn(3, maps=maps) == drawn(3)).all()


def test_boxes_are_drawn_in_their_frame_by_score():
    box = [[20, 20, 40, 50]]
    plain, low, high = drawn(), drawn(box=box, score=[0.1]), drawn(box=box, score=[0.7])
    scale = plain.shape[1] / WIDTH
    assert changed(plain, low) - (CAPTION, CAPTION, 0, 0) == pytest.approx(scale * np.array([20, 50, 20, 40]), abs=1)
    assert (high != plain).any(2).sum() > 2 * (low != plain).any(2).sum(), "thicker, with its score"
    assert (drawn(1, box=box, score=[0.7]) == drawn(1)).all()


def test_the_abnormal_pixels_are_outlined():
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    labels = np.arange(FRAMES) >= 4
    masks[labels, 10:30, 50:80] = True
    with_masks, without = (drawn(5, labels=labels, masks=part)[CAPTION:300] for part in (masks, None))
    scale = with_masks.shape[1] / WIDTH
    wanted = scale * np.array([10, 30, 50, 80])
    assert changed(with_masks, without) == pytest.approx(wanted, abs=scale)
    assert (with_masks[round(20 * scale), round(65 * scale)] == without[round(20 * scale), round(65 * scale)]).all()


def test_the_cursor_moves_with_the_frame():
    curves = [drawn(t)[-100:-30] for t in range(FRAMES)]
    columns = [((part.max(2) < 80).mean(0) > 0.6).nonzero()[0].item() for part in curves]
    assert np.diff(columns) == pytest.approx((540 - 50) / FRAMES, abs=1.5)


def test_abnormal_frames_are_named_and_shaded():
    labels = np.arange(FRAMES) >= 4
    normal, abnormal, unknown = drawn(0, labels=labels), drawn(4, labels=labels), drawn(0)
    corner = [part[2:10, -6:].reshape(-1, 3).mean(0) for part in (normal, abnormal, unknown)]
    assert (corner[0] == 255).all() and (corner[2] == 255).all() and (corner[1] < (60, 130, 240)).all()
    shaded = drawn(0, labels=labels)[-60], drawn(0, labels=~labels)[-60]
    assert (shaded[0][150] > 250).all() and (shaded[1][150] < (225, 235, 255)).any()


@pytest.mark.parametrize(
    ("width", "wanted"),
    [(90, 540), (230, 460), (238, 476), (320, 640), (460, 460), (856, 856), (1280, 1280), (1920, 1280)],
)
def test_pictures_are_wide_enough_to_be_read(width, wanted):
    size = (width // 2, width)
    picture = drawn(size=size, box=[[-3, -3, 8, 6], [width - 9, 0, width + 5, 30]], score=[0.9, 3.0])
    assert picture.shape[1] == wanted and picture.dtype == np.uint8
    assert picture.shape[0] > round(wanted / 2) + 150


@pytest.mark.parametrize("clip", ["a", "gate $2$ at 10:00 " * 6, "日本"])
def test_a_clip_of_one_frame_without_labels_and_objects(tmp_path, clip):
    overlay = Overlay(clip, findings(frames=1, size=(33, 57)))
    write_mp4(tmp_path / "a.mp4", (overlay.draw(t, frame) for t, frame in enumerate(films(1, 33, 57))), 25)
    assert len(read(tmp_path / "a.mp4")[2]) == 1
    caption = overlay.draw(0, np.zeros((33, 57, 3), np.uint8))[:CAPTION]
    assert caption.min() < 120 and (caption[:, -4:] == 255).all(), "the whole name"


def test_the_teachers_boxes_have_the_mean_of_their_scores():
    one, other = (findings(box=np.arange(8), score=score).objects for score in ([0.2, 0.4], [0.6, 0.0]))
    mean = mean_objects({"multi_task": one, "flow_neighbours": other})
    np.testing.assert_allclose(mean.score, [0.4, 0.2])
    assert (mean.box == one.box).all() and mean.frames == FRAMES
