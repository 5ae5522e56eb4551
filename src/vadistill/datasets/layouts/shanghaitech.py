"""ShanghaiTech Campus: training/videos/*.avi, testing/frames/<clip>/*.jpg, masks of frames and pixels as .npy."""

from pathlib import Path

from vadistill.datasets.clips import ArrayLabels, Clip
from vadistill.datasets.folders import base_folder, is_avi, matching, required_labels


def clips(root: Path, layout: str) -> list[Clip]:
    """Return the clips of ShanghaiTech; the training clips are videos, or else folders of their frames."""
    base = base_folder(root, "training", "testing")
    training, testing = base / "training", base / "testing"
    if not (training / "videos").is_dir() and (training / "frames").is_dir():
        train = matching(training / "frames", Path.is_dir, "ShanghaiTech's training clips, one folder of *.jpg each")
    else:
        train = matching(training / "videos", is_avi, "ShanghaiTech's training videos, *.avi")
    test = matching(testing / "frames", Path.is_dir, "ShanghaiTech's test clips, one folder of *.jpg each")
    found = [Clip(path.name if path.is_dir() else path.stem, "train", path) for path in train]
    for path in test:
        frames = required_labels(testing / "test_frame_mask" / f"{path.name}.npy", path.name)
        masks = required_labels(testing / "test_pixel_mask" / f"{path.name}.npy", path.name)
        found.append(Clip(path.name, "test", path, ArrayLabels(frames, masks)))
    return found
