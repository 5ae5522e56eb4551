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


def test_validation_clips_are_drawn_with_their_boxes(tmp_path):
    (tmp_path / "validation").mkdir()
    for kind in ANOMALY_KINDS:
        boxes = np.zeros((6, 2, 4), np.float32)
        boxes[2:5] = [(10, 10, 40, 50), (50, 10, 80, 50)]
        np.save(tmp_path / f"validation/a.{kind}.npy", boxes)
        images = (np.full((60, 90, 3), 90, np.uint8) for _ in range(6))
        write_images(tmp_path / f"frames/validation/a.{kind}.h5", f"a.{kind}", "validation", images, "png", 95)
    samples.main(["validation", str(tmp_path / "sheet.png"), str(tmp_path)])
    orange = np.array([0x00, 0x5E, 0xD5])
    assert (np.abs(drawn(tmp_path / "sheet.png").astype(int) - orange).max(-1) < 30).sum() > 3000


@pytest.mark.parametrize("arguments", [[], ["pseudo"], ["other", "x.png"], ["validation", "x.png"]])
def test_wrong_arguments_show_the_usage(arguments):
    with pytest.raises(SystemExit, match=r"python -m vadistill\.report\.samples"):
        samples.main(arguments)
