"""Draw samples of pseudo-anomalies: python -m vadistill.report.samples PICTURE [FOLDER_OF_IMAGES]."""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from vadistill.data.images import read_image_pool
from vadistill.report.plots import DPI, TITLE, save
from vadistill.teachers import pseudo_anomalies

COUNT, SIDE, SEED = 12, 64, 0


def flow_colours(flow: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) in [0, 1] of flow (2, H, W): hue is its direction, saturation its length up to 3 units."""
    hue = (np.arctan2(flow[1], flow[0]) / (2 * np.pi)) % 1
    length = np.hypot(*flow).clip(0, 3) / 3
    return hsv_to_rgb(np.stack([hue, length, np.ones_like(hue)], axis=-1))


def samples(images: np.ndarray | None) -> dict[str, list[np.ndarray]]:
    """Return a row of pictures for each kind; ``images`` (P, 3, S', S') uint8 BGR is the folder's pool."""
    rng = torch.Generator().manual_seed(SEED)
    made = {"procedural": [part.numpy() for part in pseudo_anomalies.appearance(COUNT, SIDE, rng)[:, 0]]}
    if images is not None:
        parts = pseudo_anomalies.from_pool(torch.from_numpy(images), COUNT, SIDE, rng)
        made["folder of images"] = [part.mean(0).numpy() for part in parts]
    flow = pseudo_anomalies.affine_flow(torch.zeros(COUNT, 2, 2, SIDE, SIDE), rng)
    made["affine motion"] = [flow_colours(part.numpy()) for part in flow[:, 1]]
    return made


def draw(path: Path, images: np.ndarray | None = None) -> None:
    """Draw a sheet of samples, a row a kind."""
    rows = samples(images)
    figure = Figure(figsize=(COUNT * 0.75, len(rows) * 0.95), dpi=DPI, layout="constrained")
    for axes_row, (name, pictures) in zip(figure.subplots(len(rows), COUNT, squeeze=False), rows.items(), strict=True):
        axes_row[0].set_title(name, loc="left", **TITLE)
        for axes, picture in zip(axes_row, pictures, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
    save(figure, path)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    pool = read_image_pool(Path(sys.argv[2]), 2 * SIDE) if len(sys.argv) == 3 else None
    draw(Path(sys.argv[1]), pool)
