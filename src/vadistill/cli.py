"""The user's command line: ``vadistill``, or ``python -m vadistill``.

It judges detectors of any origin by the measures of the workflow.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vadistill.data.region_files import read_pair
from vadistill.data.score_files import check_pair, read_frame_labels, read_scores
from vadistill.errors import InputError
from vadistill.protocols import DEFAULT, PROTOCOLS, find, judge_fully, record
from vadistill.regions import region_scores

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
PATHS = "a folder of <clip>.npy, or one .npz keyed by clip"


@app.callback()
def vadistill() -> None:
    """Judge video anomaly detectors."""


@app.command()
def auc(
    scores: Annotated[Path, typer.Option(help=f"Frame scores (T,): {PATHS}.")],
    labels: Annotated[Path, typer.Option(help=f"Frame labels (T,), 1 = abnormal: {PATHS}.")],
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = DEFAULT,
    sigma: Annotated[float, typer.Option(help="Gaussian smoothing over time, in frames; fast_aed has its own.")] = 0.0,
) -> None:
    """Print micro and macro AUC of frame scores as JSON, with 95 % intervals and the protocol."""
    if find(protocol).fast_aed_filter and sigma:
        raise InputError(f"--sigma {sigma:g}: protocol {protocol} has its own smoothing; expected none beside it")
    values, truth = read_scores(scores), read_frame_labels(labels)
    check_pair(scores, values, labels, truth)
    made = judge_fully(values, truth, sigma, protocol)
    del made["per_clip"]
    frames = sum(map(len, truth.values()))
    _print({**made, "clips": len(truth), "frames": frames, "protocol": record(protocol, sigma)})


@app.command()
def regions(
    tracks: Annotated[Path, typer.Option(help="Folder of <clip>.txt: track_id,frame_id,x_min,y_min,x_max,y_max.")],
    detections: Annotated[Path, typer.Option(help="Folder of <clip>.txt: frame_id,x_min,y_min,x_max,y_max,score.")],
    num_frames: Annotated[int, typer.Option(help="Number of frames of all test clips.", min=1)],
) -> None:
    """Print RBDC and TBDC (alpha = beta = 0.1) of detected regions as JSON."""
    truth, found = read_pair(tracks, detections)
    least = sum(1 + max(part.frame.max(initial=-1) for part in (truth[clip], found[clip])) for clip in truth)
    if num_frames < least:
        raise InputError(f"--num-frames {num_frames}: the files name frames of at least {least}; expected all frames")
    made = region_scores(truth, found, num_frames)
    _print({"rbdc": made.rbdc, "tbdc": made.tbdc})


def _print(content: dict) -> None:
    print(json.dumps(content, indent=2, allow_nan=False))


def main() -> None:
    """Run the command line; a bad input ends in one line and exit status 1."""
    try:
        app()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
