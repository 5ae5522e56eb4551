"""Train the demo's object detector on generated images of other scenes."""

import argparse
import copy
import tempfile
from pathlib import Path
from typing import Any

import torch

from vadistill.datasets.demo.detector_images import write_yolo_dataset
from vadistill.errors import InputError
from vadistill.quiet import quiet_ultralytics
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.checkpoint import save

FRAME = (180, 320)  # height and width of the images in pixels
DEFAULTS = {"seed": 1000, "images": 2400, "held_out": 200, "epochs": 12, "batch": 16, "image_size": 320}


def main(arguments: argparse.Namespace) -> None:
    """Write the images to a temporary folder, train there and keep the weights alone."""
    settings = DEFAULTS | {key: value for key, value in arguments.settings.items() if key != "version"}
    if unknown := settings.keys() - DEFAULTS.keys():
        raise InputError(f"--settings: unknown key '{min(unknown)}'; expected some of {', '.join(DEFAULTS)}")
    if not arguments.architecture.is_file():
        raise InputError(f"{arguments.architecture}: missing; expected a YOLO architecture file")
    quiet_ultralytics()
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        counts = {"train": settings["images"], "val": settings["held_out"]}
        data = write_yolo_dataset(folder / "data", settings["seed"], counts, *FRAME)
        network = YOLO(str(arguments.architecture), task="detect")
        network.train(
            data=str(data),
            imgsz=settings["image_size"],
            epochs=settings["epochs"],
            batch=settings["batch"],
            seed=settings["seed"],
            project=str(folder / "runs"),
            device=0 if torch.cuda.is_available() else "cpu",
            optimizer="AdamW",
            lr0=2e-3,
            cos_lr=True,
            warmup_epochs=1,
            close_mosaic=max(1, settings["epochs"] // 3),
            cache="ram",
            workers=0,
            amp=False,
            plots=False,
            val=False,
        )
        trainer: Any = network.trainer
        print({key: round(float(value), 4) for key, value in trainer.metrics.items()})
        write_weights(trainer.ema.ema, arguments.output)


def write_weights(trained: torch.nn.Module, output: Path) -> None:
    """Write the trained model in half precision, without the paths of its training."""
    model: Any = copy.deepcopy(trained).half()
    arguments = {"task": "detect", "imgsz": model.args.imgsz}
    model.args, model.criterion = arguments, None  # the criterion remembers the settings of the training
    model.yaml.pop("yaml_file", None)
    save({"model": model, "train_args": arguments}, output)


if __name__ == "__main__":
    made = parser(__doc__)
    add_paths(made, "architecture", "output")
    run(main, made)
