"""Draw samples of what stands for anomalies when there are none.

python -m vadistill.report.samples pseudo PICTURE [FOLDER_OF_IMAGES]     pseudo-anomalies of background_agnostic
python -m vadistill.report.samples validation PICTURE results/DATASET    synthetic anomalies of the validation split
"""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vadistill.datasets.labels import read_boxes
from vadistill.io.frames import FrameStore
from vadistill.report.plots import ABNORMAL_COLOUR, DPI, TITLE, save
from vadistill.settings import ANOMALY_KINDS
from vadistill.teachers import pseudo_anomalies
from vadistill.teachers.image_pool import read_image_pool
from vadistill.training.parallel import Draws

COUNT, SIDE, SEED = 12, 64, 0
MOMENTS = 4  # frames shown of a clip


def flow_colours(flow: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) in [0, 1] of flow (2, H, W): hue is its direction, saturation its length up to 3 units."""
    hue = (np.arctan2(flow[1], flow[0]) / (2 * np.pi)) % 1
    length = np.hypot(*flow).clip(0, 3) / 3
    return hsv_to_rgb(np.stack([hue, length, np.ones_like(hue)], axis=-1))


def samples(images: np.ndarray | None) -> dict[str, list[np.ndarray]]:
    """Return a row of pictures for each kind; ``images`` (P, 3, S', S') uint8 BGR is the folder's pool."""
    rng = Draws(torch.Generator().manual_seed(SEED))
    made = {"procedural": [part.numpy() for part in pseudo_anomalies.appearance(COUNT, SIDE, rng)[:, 0]]}
    if images is not None:
        parts = pseudo_anomalies.from_pool(torch.from_numpy(images), COUNT, SIDE, rng)
        made["folder of images"] = [part.mean(0).numpy() for part in parts]
    flow = pseudo_anomalies.affine_flow(torch.zeros(COUNT, 2, 2, SIDE, SIDE), rng)
    made["affine motion"] = [flow_colours(part.numpy()) for part in flow[:, 1]]
    return made


def draw_pseudo(path: Path, images: np.ndarray | None = None) -> None:
    """Draw a sheet of pseudo-anomalies, a row a kind."""
    rows = samples(images)
    figure = Figure(figsize=(COUNT * 0.75, len(rows) * 0.95), dpi=DPI, layout="constrained")
    for axes_row, (name, pictures) in zip(figure.subplots(len(rows), COUNT, squeeze=False), rows.items(), strict=True):
        axes_row[0].set_title(name, loc="left", **TITLE)
        for axes, picture in zip(axes_row, pictures, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
    save(figure, path)


def draw_validation(path: Path, results: Path) -> None:
    """Draw frames of one validation clip of each kind, the anomaly in its box."""
    clips = [path for kind in ANOMALY_KINDS for path in sorted((results / "validation").glob(f"*.{kind}.npy"))[:1]]
    figure = Figure(figsize=(MOMENTS * 2.2, len(clips) * 1.45), dpi=DPI, layout="constrained")
    for axes_row, boxes_file in zip(figure.subplots(len(clips), MOMENTS, squeeze=False), clips, strict=True):
        boxes = read_boxes(boxes_file)
        store = FrameStore(results / f"frames/validation/{boxes_file.stem}.h5")
        abnormal = np.flatnonzero(boxes.any(axis=(1, 2)))
        axes_row[0].set_title(boxes_file.stem, loc="left", **TITLE)
        for axes, t in zip(axes_row, abnormal[np.linspace(0, len(abnormal) - 1, MOMENTS).astype(int)], strict=True):
            axes.imshow(store.read(t)[..., ::-1])
            for x1, y1, x2, y2 in boxes[t]:
                axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=ABNORMAL_COLOUR, linewidth=1.5))
            axes.set_axis_off()
    save(figure, path)


def main(arguments: list[str]) -> None:
    """Draw what the first argument asks for."""
    match arguments:
        case ["pseudo", picture, *folder] if len(folder) <= 1:
            draw_pseudo(Path(picture), read_image_pool(Path(folder[0]), 2 * SIDE) if folder else None)
        case ["validation", picture, results]:
            draw_validation(Path(picture), Path(results))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
