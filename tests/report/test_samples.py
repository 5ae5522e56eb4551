import cv2
import numpy as np
import pytest

from vadistill.io.frames import write_images
from vadistill.report import samples
from vadistill.settings import ANOMALY_KINDS


def drawn(path):
    return cv2.imread(str(path))


def test_pseudo_anomalies_are_drawn_with_and_without_a_folder(tmp_path):
    samples.main(["pseudo", str(tmp_path / "one.png")])
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.png"), np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8))
    samples.main(["pseudo", str(tmp_path / "two.png"), str(folder)])
    one, two = drawn(tmp_path / "one.png"), drawn(tmp_path / "two.png")
    assert two.shape[0] > one.shape[0] and one.std() > 10


def framed(folder, boxes):
    """How many pixels of the boxes' colour are in a sheet of clips of all kinds, whose frames have these boxes."""
    (folder / "validation").mkdir(parents=True)
    for kind in ANOMALY_KINDS:
        made = np.zeros((6, len(boxes), 4), np.float32)
        made[2:5] = boxes
        np.save(folder / f"validation/a.{kind}.npy", made)
        images = (np.full((60, 90, 3), 90, np.uint8) for _ in range(6))
        write_images(folder / f"frames/validation/a.{kind}.h5", f"a.{kind}", "validation", images, "png", 95)
    samples.main(["validation", str(folder / "sheet.png"), str(folder)])
    orange = np.array([0x00, 0x5E, 0xD5])
    return (np.abs(drawn(folder / "sheet.png").astype(int) - orange).max(-1) < 30).sum()


def test_validation_clips_are_drawn_with_all_their_boxes(tmp_path):
    left, right, none = (10, 10, 40, 50), (50, 10, 80, 50), (0, 0, 0, 0)
    one, two, padded = (
        framed(tmp_path / name, boxes)
        for name, boxes in {"one": [left], "two": [left, right], "padded": [left, none]}.items()
    )
    assert one > 500 and two > 1.8 * one and padded == one


@pytest.mark.parametrize("arguments", [[], ["pseudo"], ["other", "x.png"], ["validation", "x.png"]])
def test_wrong_arguments_show_the_usage(arguments):
    with pytest.raises(SystemExit, match=r"python -m vadistill\.report\.samples"):
        samples.main(arguments)
