"""Tiny generated data sets in the layouts of the real ones."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import scipy.io

FRAMES, HEIGHT, WIDTH = 10, 48, 64
ABNORMAL = slice(3, 6)
REGION = (slice(10, 20), slice(5, 25))


def brightness(t: int) -> int:
    """The grey level of frame t, by which tests recognise it."""
    return 30 + 12 * t


def pictures(count: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """Frames (H, W, 3) of one grey level each."""
    return [np.full((height, width, 3), brightness(t), np.uint8) for t in range(count)]


def number_of(frame: np.ndarray) -> int:
    """Which frame of ``pictures`` this is."""
    return round((float(frame.mean()) - brightness(0)) / 12)


def truth(count: int = FRAMES) -> np.ndarray:
    """Frame labels (T,) of every abnormal test clip of the trees."""
    labels = np.zeros(count, np.uint8)
    labels[ABNORMAL] = 1
    return labels


def masks(count: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Pixel masks (T, H, W) of every abnormal test clip of the trees."""
    volume = np.zeros((count, height, width), bool)
    volume[(ABNORMAL, *REGION)] = True
    return volume


def write_avi(path: Path, frames: list[np.ndarray], declared: int | None = None) -> None:
    """Write a Motion JPEG AVI; unlike OpenCV's writer it takes odd sizes, grey frames and any declared length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2] if frames else (HEIGHT, WIDTH)
    count = len(frames) if declared is None else declared

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    main = struct.pack("<14I", 40000, 0, 0, 0, count, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = struct.pack(
        "<4s4sIHHIIIIIIIIHHHH", b"vids", b"MJPG", *(0,) * 4, 1, 25, 0, count, 0, 0, 0, 0, 0, width, height
    )
    format_ = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    header = b"hdrl" + chunk(b"avih", main) + chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", format_))
    movie = b"movi" + b"".join(chunk(b"00dc", cv2.imencode(".jpg", frame)[1].tobytes()) for frame in frames)
    path.write_bytes(chunk(b"RIFF", b"AVI " + chunk(b"LIST", header) + chunk(b"LIST", movie)))


def write_mp4(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (width, height))
    for frame in frames:
        video.write(frame)
    video.release()


def write_images(folder: Path, frames: list[np.ndarray], suffix: str, first: int = 0) -> None:
    """Write 000.jpg, 001.jpg, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(frames, start=first):
        assert cv2.imwrite(str(folder / f"{t:03d}{suffix}"), frame)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def avenue(root: Path) -> Path:
    for name in ("01", "02", "10"):
        write_avi(root / "training_videos" / f"{name}.avi", pictures())
    cells = np.empty((1, FRAMES), object)
    cells[0, :] = list(masks().astype(np.uint8))
    (root / "ground_truth_demo" / "testing_label_mask").mkdir(parents=True)
    for name in ("08", "17"):
        write_avi(root / "testing_videos" / f"{name}.avi", pictures())
        scipy.io.savemat(
            root / "ground_truth_demo" / "testing_label_mask" / f"{int(name)}_label.mat", {"volLabel": cells}
        )
    return root


def shanghaitech(root: Path) -> Path:
    for name in ("01_001", "01_002"):
        write_avi(root / "training" / "videos" / f"{name}.avi", pictures())
    for name in ("01_0014", "01_0015"):
        write_images(root / "testing" / "frames" / name, pictures(), ".jpg")
        save(root / "testing" / "test_frame_mask" / f"{name}.npy", truth())
        save(root / "testing" / "test_pixel_mask" / f"{name}.npy", masks())
    return root


def ucsd(root: Path, name: str = "UCSDped1", masked: tuple[int, ...] = (2,), ranges: bool = True) -> Path:
    """``masked``: test clips with a _gt folder; ``ranges``: with the .m file."""
    base = root / name
    for number in (1, 2):
        write_images(base / "Train" / f"Train{number:03d}", [f[..., 0] for f in pictures()], ".tif", 1)
        write_images(base / "Test" / f"Test{number:03d}", [f[..., 0] for f in pictures()], ".tif", 1)
        if number in masked:
            volume = masks().astype(np.uint8) * 255
            write_images(base / "Test" / f"Test{number:03d}_gt", list(volume), ".bmp", 1)
    (base / "Test" / "Test001" / ".DS_Store").write_bytes(b"stray")
    (base / "Train" / ".DS_Store").write_bytes(b"stray")
    if ranges:
        lines = (
            "TestVideoFile = {};",
            "% TestVideoFile{end+1}.gt_frame = [1:9];",
            "TestVideoFile{end+1}.gt_frame = [1:2, 9:10]; % two",
            "",
        )
        last = "TestVideoFile{end+1}.gt_frame = [4:6];\n"
        (base / "Test" / f"{name}.m").write_text("\n".join(lines) + last)
    return root


def ubnormal(root: Path) -> Path:
    lists = {
        "normal_training": ["normal_scene_2_scenario_1", "normal_scene_2_scenario_3_fog"],
        "normal_test": ["normal_scene_1_scenario1_10"],
        "abnormal_test": ["abnormal_scene_1_scenario_2"],
    }
    (root / "scripts").mkdir(parents=True)
    for split, names in lists.items():
        (root / "scripts" / f"{split}_video_names.txt").write_text("\n".join(names))
        for name in names:
            write_mp4(root / f"Scene{name.split('_')[2]}" / f"{name}.mp4", pictures())
    # A clip of no list that is read: abnormal training clips are not used.
    write_mp4(root / "Scene2" / "abnormal_scene_2_scenario_1.mp4", pictures())
    folder = root / "Scene1" / "abnormal_scene_1_scenario_2_annotations"
    folder.mkdir()
    for t in range(FRAMES):
        objects = np.zeros((HEIGHT, WIDTH), np.uint8)
        objects[REGION] = 3  # abnormal while its track says so
        objects[30:40, 30:40] = 1  # a normal object
        cv2.imwrite(str(folder / f"{folder.name.removesuffix('_annotations')}_{t:04d}_gt.png"), objects)
    (folder / "abnormal_scene_1_scenario_2_tracks.txt").write_text("3,3,5\n")
    return root


def folder(root: Path, frame_masks: bool = True, pixel_masks: bool = True) -> Path:
    write_avi(root / "train" / "gate 2.AVI", pictures())
    write_images(root / "train" / "gate 10", pictures(), ".png")
    write_mp4(root / "test" / "a.mp4", pictures())
    write_images(root / "test" / "b", pictures(), ".jpg")
    for name in ("a", "b"):
        if frame_masks:
            save(root / "test_frame_mask" / f"{name}.npy", truth())
        if pixel_masks:
            save(root / "test_pixel_mask" / f"{name}.npy", masks())
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "avenue": avenue,
    "shanghaitech": shanghaitech,
    "ucsd_ped1": lambda root: ucsd(root, "UCSDped1"),
    "ucsd_ped2": lambda root: ucsd(root, "UCSDped2", masked=(1, 2), ranges=False),
    "ubnormal": ubnormal,
    "folder": folder,
}
