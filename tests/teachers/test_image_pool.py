import cv2
import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.teachers.image_pool import read_image_pool


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def test_the_squares_in_the_middle_of_all_images_of_all_folders(tmp_path):
    wide = np.zeros((20, 50, 3), np.uint8)
    wide[:, 15:35] = (10, 20, 30)
    write(tmp_path / "a" / "wide.png", wide)
    write(tmp_path / "b" / "tall.png", np.transpose(wide, (1, 0, 2)))
    write(tmp_path / "gray.png", np.full((8, 8), 40, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    made = read_image_pool(tmp_path, 16)
    assert made.shape == (3, 3, 16, 16) and made.dtype == np.uint8
    colours = {tuple(image.reshape(3, -1).min(1)) for image in made}
    assert colours == {tuple(image.reshape(3, -1).max(1)) for image in made} == {(10, 20, 30), (40, 40, 40)}


def test_many_images_are_thinned_out_evenly(tmp_path):
    for number in range(21):
        write(tmp_path / f"{number:02d}.png", np.full((4, 4), number, np.uint8))
    assert read_image_pool(tmp_path, 4, limit=5)[:, 0, 0, 0].tolist() == [0, 5, 10, 15, 20]
    assert len(read_image_pool(tmp_path, 4)) == 21


def test_bad_pools_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: missing; expected a folder"):
        read_image_pool(tmp_path / "nowhere", 8)
    write(tmp_path / "one.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match=r": 1 images; expected at least two \(.*\.png"):
        read_image_pool(tmp_path, 8)
    (tmp_path / "torn.jpg").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"torn\.jpg: not a readable image"):
        read_image_pool(tmp_path, 8)
