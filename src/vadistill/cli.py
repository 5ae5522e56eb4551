"""The user's command line: ``vadistill``, or ``python -m vadistill``.

It judges detectors of any origin by the measures of the workflow, and runs, exports and times trained students.
"""

import json
import logging
import resource
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from vadistill import __version__
from vadistill.errors import InputError, printable
from vadistill.evaluation.events import AlarmRule, judge, lowest_threshold
from vadistill.evaluation.metrics import smooth
from vadistill.evaluation.protocols import DEFAULT, PROTOCOLS, find, frame_auc_with_intervals, record
from vadistill.evaluation.rbdc_tbdc import rbdc_and_tbdc
from vadistill.evaluation.region_files import read_pair
from vadistill.evaluation.score_files import check_pair, read_frame_labels, read_scores
from vadistill.extras import extra
from vadistill.frame_level.packed import PackedDetector, is_packed
from vadistill.inference.backends import BACKENDS
from vadistill.inference.sources import sources_of
from vadistill.io.files import write_json
from vadistill.io.formats import size_text
from vadistill.io.provenance import PACKAGE, git_revision, other_checkout

if TYPE_CHECKING:
    from vadistill.inference.score_table import Scored

log = logging.getLogger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
FILM_RATE = 25.0  # frames a second of the film of a video that says none
PATHS = "a folder of <clip>.npy, .csv, .parquet or .txt, or one .npz keyed by clip"


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"vadistill {__version__}, revision {git_revision() or 'unknown'}, {PACKAGE}")
        raise typer.Exit


@app.callback()
def vadistill(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Version, revision and folder.")
    ] = False,
) -> None:
    """Judge video anomaly detectors; run, export and time trained students."""
    if line := other_checkout(Path.cwd()):
        print(f"warning: {line}", file=sys.stderr)


@app.command()
def auc(
    scores: Annotated[Path, typer.Option(help=f"Frame scores (T,): {PATHS}.")],
    labels: Annotated[
        Path, typer.Option(help=f"Frame labels (T,), 1 = abnormal: {PATHS}; labels.csv; one .npy of all clips.")
    ],
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = DEFAULT,
    sigma: Annotated[float, typer.Option(help="Gaussian smoothing over time, in frames; fast_aed has its own.")] = 0.0,
) -> None:
    """Print micro and macro AUC of frame scores as JSON, with 95 % intervals and the protocol."""
    if find(protocol).fast_aed_filter and sigma:
        raise InputError(f"--sigma {sigma:g}: protocol {protocol} has its own smoothing; expected none beside it")
    values = read_scores(scores)
    truth = read_frame_labels(labels, {clip: len(part) for clip, part in values.items()})
    check_pair(scores, values, labels, truth)
    made = frame_auc_with_intervals(values, truth, sigma, protocol)
    del made["per_clip"]
    frames = sum(map(len, truth.values()))
    _print({**made, "clips": len(truth), "frames": frames, "protocol": record(protocol, sigma)})


@app.command()
def events(
    scores: Annotated[Path, typer.Option(help=f"Frame scores (T,): {PATHS}.")],
    labels: Annotated[
        Path, typer.Option(help=f"Frame labels (T,), 1 = abnormal: {PATHS}; labels.csv; one .npy of all clips.")
    ],
    fps: Annotated[float, typer.Option(help="Frames a second of the clips.", min=0.01)],
    threshold: Annotated[float | None, typer.Option(help="Smoothed score from which on there is an alarm.")] = None,
    false_alarms_per_hour: Annotated[
        float | None, typer.Option(help="Or: the lowest threshold with at most so many, by these labels.", min=0)
    ] = None,
    release: Annotated[float | None, typer.Option(help="Score below which an alarm ends; else the threshold.")] = None,
    cool_down: Annotated[float, typer.Option(help="Seconds; alarms with less between them are one.", min=0)] = 2.0,
    sigma: Annotated[float, typer.Option(help="Gaussian smoothing over time, in frames.", min=0)] = 0.0,
) -> None:
    """Print how alarms fit events as JSON: recall, precision, false alarms an hour, delay."""
    if (threshold is None) == (false_alarms_per_hour is None):
        raise InputError("expected either --threshold or --false-alarms-per-hour")
    if false_alarms_per_hour is not None and release is not None:
        raise InputError("--release: expected with --threshold only; for a wanted rate, alarms end at the threshold")
    values = read_scores(scores)
    truth = read_frame_labels(labels, {clip: len(part) for clip, part in values.items()})
    check_pair(scores, values, labels, truth)
    smoothed, pause = {clip: smooth(part, sigma) for clip, part in values.items()}, round(cool_down * fps)
    if false_alarms_per_hour is not None:
        threshold = lowest_threshold(smoothed, truth, false_alarms_per_hour, pause, fps)
    assert threshold is not None
    if release is not None and release > threshold:
        raise InputError(f"--release {release:g}: expected at most the threshold, {threshold:g}")
    rule = AlarmRule(threshold, threshold if release is None else release, pause)
    _print({**judge(smoothed, truth, rule, fps).record(), "release": rule.release, "cool_down_s": cool_down,
            "smoothing_sigma_frames": sigma, "fps": fps})  # fmt: skip


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
    made = rbdc_and_tbdc(truth, found, num_frames)
    _print({"rbdc": made.rbdc, "tbdc": made.tbdc})


@app.command()
def score(
    videos: Annotated[
        list[Path],
        typer.Argument(help="Videos, folders of videos or images, stored clips (.h5), or patterns of names."),
    ],
    model: Annotated[
        Path,
        typer.Option(help="What 'pack', 'adapt' or 'export' wrote; a trained detector (.pt); or 'starter'."),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for <video>.csv: frame,time_s,score; or the .csv or .parquet of one video.")
    ],
    backend: Annotated[str | None, typer.Option(help=f"One of {', '.join(BACKENDS)}; by default the model's.")] = None,
    batch: Annotated[int, typer.Option(help="Frames scored at once.", min=1)] = 16,
    every: Annotated[
        int | None,
        typer.Option(
            help="Score every so many frames; others have the last one's score. Else as adapted, or 1.", min=1
        ),
    ] = None,
    false_alarms_per_day: Annotated[
        float | None, typer.Option(help="Which of the model's thresholds makes events; by default its first.", min=0)
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Of the smoothed score, in place of the model's.")] = None,
    maps: Annotated[bool, typer.Option(help="Write <video>.npz with the anomaly maps, too.")] = False,
    overlay: Annotated[bool, typer.Option(help="Write <video>.overlay.mp4 with heat and score, and the maps.")] = False,
    parquet: Annotated[bool, typer.Option(help="Write <video>.parquet in place of <video>.csv.")] = False,
    match_rate: Annotated[
        bool | None,
        typer.Option(
            help="Scale the step between frames to the video's rate: as far apart in time as in training. Else as "
            "adapted, or not."
        ),
    ] = None,
) -> None:
    """Score videos by a trained detector; <video>.events.json has its events where thresholds are known."""
    from vadistill.inference.detector import load
    from vadistill.inference.score_table import score_all, tables_of
    from vadistill.inference.scoring import ScoreOptions
    from vadistill.inference.video_events import alarm_settings

    _log()
    if overlay:
        with extra("train"):  # said before hours of work
            from vadistill.report import overlays  # noqa: F401
    sources, errors = sources_of(videos)
    detector = load(model, backend)
    alarms = alarm_settings(detector.alarms, false_alarms_per_day, threshold)
    if detector.alarms and every is not None and every != detector.scoring.every:
        log.warning("--every %d: the thresholds were found with every %d", every, detector.scoring.every)
    options = ScoreOptions(
        batch,
        detector.scoring.every if every is None else every,
        maps or overlay,
        detector.scoring.match_rate if match_rate is None else match_rate,
        alarms,
        detector.view,
        overlay,
        parquet,
    )
    tables_of(sources, output, options)
    if alarms is None:
        log.info("%s: has no thresholds: no events; --threshold makes some", model)
    elif alarms.note:
        log.warning("%s: its threshold is %s", model, alarms.note)
    more = partial(_write_film, detector.backend.detector) if overlay else lambda _: ()
    errors += score_all(sources, output, detector.backend, options, more)
    log.info("peak memory %.0f MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    for error in errors:
        print(f"error: {printable(error)}", file=sys.stderr)
    if errors:
        raise typer.Exit(1)


def _write_film(detector: str, made: "Scored") -> list[Path]:
    """Write the film of a scored video, with the heat of its finest maps and its smoothed score."""
    from vadistill.inference.score_table import film_path
    from vadistill.inference.stream import read_source

    with extra("train"):
        from vadistill.io.mp4 import write_mp4
        from vadistill.report.overlays import Overlay, findings_of_video
    assert made.maps and made.size  # they are asked for with a film
    side, path = made.track.side, film_path(made.table)
    with np.load(made.maps) as maps:
        found = findings_of_video(
            maps[f"{side}x{side}"], made.judged.smoothed, made.in_events, made.size[::-1], detector
        )
    film = Overlay(made.source.stem, found)
    write_mp4(path, (film.draw(t, frame) for t, frame in enumerate(read_source(made.source))), made.rate or FILM_RATE)
    return [path]


@app.command()
def pack(
    results: Annotated[Path, typer.Argument(help="results/<dataset>, with a trained detector in it.")],
    folder: Annotated[Path, typer.Argument(help="Folder to be written.")],
    detector: Annotated[str, typer.Option(help="Name of the frame-level detector.")] = "student",
) -> None:
    """Write a trained detector as one folder: weights, exports, thresholds, model card, checksums."""
    with extra("train"):
        from vadistill.inference.pack import pack as write

    for line in write(results, folder, detector):
        print(f"left out: {line}", file=sys.stderr)
    print(f"{folder}: {size_text(folder)}")


@app.command()
def adapt(
    model: Annotated[Path, typer.Argument(help="What 'vadistill pack' wrote, or 'starter', which comes with it.")],
    videos: Annotated[
        list[Path], typer.Argument(help="Normal videos of another camera, an hour or more; folders or patterns, too.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder to be written.")],
    every: Annotated[
        int | None,
        typer.Option(
            help="Score every so many frames, here and whenever the folder is used; else as the model.", min=1
        ),
    ] = None,
    match_rate: Annotated[
        bool | None,
        typer.Option(help="Scale the step between frames to the videos' rate, here and later; else as the model."),
    ] = None,
    backend: Annotated[str | None, typer.Option(help=f"One of {', '.join(BACKENDS)}; by default the model's.")] = None,
) -> None:
    """Fit a packed detector to another camera without training: usual values of each place, thresholds, view."""
    from vadistill.inference.adapt import adapt as write

    _log()
    sources, errors = sources_of(videos)
    if errors:
        raise InputError(errors[0])
    made = write(model, sources, folder, backend, every, match_rate)
    for wanted, found in made.thresholds.items():
        print(f"at most {wanted} false alarms a day: threshold {found.threshold:.4g} ({found.method})")
    for note in dict.fromkeys(found.note for found in made.thresholds.values() if found.note):
        print(f"note: {note}")
    print(f"{folder}: {size_text(folder)}")


@app.command()
def watch(
    cameras: Annotated[Path, typer.Argument(help="File of cameras (docs/watch-reference.yaml has every key).")],
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong with the file.")] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Only find thresholds anew, from stored scores and what was said of alarms.")
    ] = False,
) -> None:
    """Watch live cameras: alarms, clips, a web page, and messages to other systems."""
    with extra("watch"):
        from vadistill.watch import command

    _log()
    (command.check_file if check else command.fit if fit else command.run)(cameras)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A distilled student (.pt).")],
    output: Annotated[Path, typer.Argument(help="A file .onnx, or a folder (a name without ending) for OpenVINO.")],
    precision: Annotated[str, typer.Option(help="Of OpenVINO: fp32, fp16 or int8.")] = "fp32",
    frames: Annotated[
        list[Path] | None, typer.Option(help="Stored clips (.h5) of the training split: int8 needs some; repeatable.")
    ] = None,
) -> None:
    """Write a student for ONNX Runtime or OpenVINO, checked against torch; a name that ends in .onnx is ONNX."""
    with extra("train"):
        from vadistill.inference.export import export_ending, export_onnx, export_openvino, windows_for
    from vadistill.inference.model_files import ONNX, located

    model = located(model)
    if is_packed(model) and PackedDetector.open(model, compare=False).is_adapted:
        raise InputError(
            f"{model}: adapted; an export has no place for what is usual at each place. Expected what it was adapted "
            "from; score and watch take the folder itself"
        )
    onnx = export_ending(model, output) == ONNX
    if onnx and precision != "fp32":
        raise InputError(f"--precision {precision}: ONNX is written in fp32; expected a folder for OpenVINO")
    windows = windows_for(model, frames) if frames else []
    difference = export_onnx(model, output, windows) if onnx else export_openvino(model, output, precision, windows)
    kind = f"{'ONNX' if onnx else 'OpenVINO'} in {precision}, {size_text(output)}"
    print(f"{output}: {kind}, differs from torch by at most {difference:.2g}")


@app.command()
def benchmark(
    output: Annotated[Path, typer.Argument(help="JSON file with the table, the machine and its peaks.")],
    model: Annotated[
        Path | None, typer.Option(help="A distilled student; else the official layout, untrained.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="For the parts that begin with frames; else frames are drawn.")
    ] = None,
    backends: Annotated[str, typer.Option(help="Names with commas between them.")] = ",".join(BACKENDS),
    batches: Annotated[str, typer.Option(help="Frames of a batch, with commas between them.")] = "1,8,32,64",
    budget: Annotated[float, typer.Option(help="Seconds for each number.", min=0.1)] = 5.0,
) -> None:
    """Time a student in every backend, by turns with the official layout in eager fp32."""
    with extra("train"):
        from vadistill.benchmark.speed import check_record, measure_speed
    from vadistill.inference.model_files import check_student, located

    _log()
    check_record(output)
    if model:
        model = located(model)
        check_student(model)
    try:
        sizes = [int(size) for size in batches.split(",")]
    except ValueError:
        raise InputError(f"--batches {batches}: expected numbers with commas between them") from None
    made = measure_speed(model, video, backends.split(","), sizes, budget)
    write_json(output, made)
    for row in made["table"]:
        rate = f"{row['frames_per_second']:10.1f} frames/s, {row['times_official']:6.2f} times the official layout"
        print(f"{row['part']:8} batch {row['batch']:3} {row['backend']:22} {rate}")
    print(f"{output}: JSON, {size_text(output)}")


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)


def _print(content: dict) -> None:
    print(json.dumps(content, indent=2, allow_nan=False))


def main() -> None:
    """Run the command line; a bad input ends in one line and exit status 1."""
    try:
        app()
    except (InputError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(1)
