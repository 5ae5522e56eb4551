"""How often is a normal stream said to be dark, covered, moved or frozen, and how soon one that is?

    PYTHONPATH=src:tests python -m benchmarks.drift resources/ucsd_ped1/train --also resources/ucsd_ped1/test

The usual view is made of every second clip of a folder of normal clips of one camera, and the other ones are looked at;
then the other way round. Clips follow each other as one stream. Of ``--also`` all clips are looked at, too.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, cycle, islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from vadistill.inference.stream import read_source
from vadistill.inference.view import LOOK_EVERY, Background, NormalView, State, ViewCheck, intervals, small_picture
from vadistill.io.media.video import frame_rate
from vadistill.io.mp4 import write_mp4

VIDEOS = {".avi", ".mp4"}
USUAL_SECONDS, ALTERED_SECONDS, TRIALS = 8, 25, 3  # of a trial, and how many a fold
Frames = Iterable[np.ndarray]


def warped(angle: float = 0.0, zoom: float = 1.0, right: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """Return what turns frames by degrees, zooms in and moves them to the right by a share of the width."""

    def alter(frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
        matrix[0, 2] += right * width
        return cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)

    return alter


class Noisy:
    """Frames with Gaussian noise of ``sigma``, of a share of their light and ``veil`` gray levels."""

    def __init__(self, sigma: float, light: float = 1.0, veil: float = 0.0) -> None:
        self.rng, self.sigma, self.light, self.veil = np.random.default_rng(0), sigma, light, veil

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        noise = self.rng.normal(0, self.sigma, frame.shape).astype(np.float32)
        return np.clip(np.rint(frame * np.float32(self.light) + np.float32(self.veil) + noise), 0, 255).astype(np.uint8)


def blurred(frame: np.ndarray) -> np.ndarray:
    """As a lens out of focus or with water on it: a blur as wide as 1/40 of the picture."""
    return cv2.GaussianBlur(frame, (0, 0), frame.shape[1] / 40)


def sprayed(frame: np.ndarray) -> np.ndarray:
    """Paint on 80 % of the frame, from the left."""
    made = frame.copy()
    made[:, : round(0.8 * frame.shape[1])] = 60
    return made


class Still:
    """The first frame again and again, with a change of its own."""

    def __init__(self, change: Callable[[np.ndarray], np.ndarray] = lambda frame: frame) -> None:
        self.first: np.ndarray | None = None
        self.change = change

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        self.first = frame if self.first is None else self.first
        return self.change(self.first)


class OneOff:
    """Frames with -1, 0 or 1 gray level more."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return np.clip(frame.astype(np.int16) + self.rng.integers(-1, 2, frame.shape), 0, 255).astype(np.uint8)


ALTERED: dict[str, Callable[[], Callable[[np.ndarray], np.ndarray]]] = {
    **{
        f"moved by {100 * share:g} %": lambda share=share: warped(right=share) for share in (0.01, 0.02, 0.05, 0.1, 0.3)
    },
    **{f"turned by {angle} degrees": lambda angle=angle: warped(angle=angle) for angle in (2, 5, 10)},
    **{f"zoomed by {zoom:g}": lambda zoom=zoom: warped(zoom=zoom) for zoom in (1.05, 1.1, 1.3)},
    "covered: blurred": lambda: blurred,
    "covered: gray": lambda: lambda frame: np.full_like(frame, 110),
    "covered: gray, noise 3": lambda: Noisy(3, 0, 110),
    "covered: 80 % sprayed": lambda: sprayed,
    "black": lambda: np.zeros_like,
    "night: 15 % of the light, noise 4": lambda: Noisy(4, 0.15),
    "frozen": Still,
    "frozen, +-1 gray level": lambda: Still(OneOff()),
    "live, nobody moves: noise 1": lambda: Still(Noisy(1)),
    "live, nobody moves: noise 2": lambda: Still(Noisy(2)),
    "live, nobody moves: noise 4": lambda: Still(Noisy(4)),
}
CODED = {f"{name}, H.264": name for name in ("frozen", "live, nobody moves: noise 2", "live, nobody moves: noise 4")}


def stream(clips: list[Path]) -> Iterator[np.ndarray]:
    """Yield the frames of clips, one after the other."""
    return chain.from_iterable(map(read_source, clips))


def said(view: NormalView, frames: Frames, rate: float) -> list[State]:
    """Return what is said at every frame."""
    check = ViewCheck(view)
    return [check.update(frame, t / rate) for t, frame in enumerate(frames)]


def false_row(view: NormalView, clips: list[Path], rate: float) -> Counter[str]:
    """Return how many frames there are, and frames and episodes of each state."""
    states = said(view, stream(clips), rate)
    found: Counter[str] = Counter(frames=len(states))
    for state, start, end in intervals(states):
        found[f"{state} frames"] += end - start
        found[f"{state} episodes"] += 1
    return found


def coded(frames: Frames, rate: float) -> Iterator[np.ndarray]:
    """Yield frames as H.264 gives them back."""
    with tempfile.TemporaryDirectory() as folder:
        write_mp4(film := Path(folder) / "film.mp4", frames, rate)
        yield from read_source(film)


def looked_at(clips: list[Path], rate: float) -> list[list[np.ndarray]]:
    """Return of each clip the frames that are looked at."""
    step = max(1, round(LOOK_EVERY * rate))
    return [list(islice(read_source(clip), 0, None, step)) for clip in clips]


def margins(view: NormalView, kept: list[list[np.ndarray]]) -> dict[str, float]:
    """Return what comes nearest to the thresholds in usual frames."""
    background, small = Background(view.background), [small_picture(frame) for frame in chain.from_iterable(kept)]
    return {
        "lowest brightness / usual": min(picture.mean() for picture in small) / view.brightness,
        "highest share of lost edges": max(map(background.blind_share, small)),
        "lowest likeness / usual": min(map(background.likeness, small)) / view.likeness,
        "usual change": view.change,
    }


def trials(view: NormalView, kept: list[list[np.ndarray]], rate: float, name: str) -> list[tuple[State, float | None]]:
    """Return what is said first of altered streams, and seconds after the change.

    Args:
        view: What is usual.
        kept: Usual frames of clips, ``rate`` of them a second; a trial begins with each of the first ones.
        rate: About one frame a look.
        name: Of the change.
    """
    found = []
    for first in range(min(TRIALS, len(kept))):
        frames = cycle(chain.from_iterable(kept[first:] + kept[:first]))
        usual = list(islice(frames, round(USUAL_SECONDS * rate)))
        altered: Frames = map(ALTERED[CODED.get(name, name)](), islice(frames, round(ALTERED_SECONDS * rate)))
        if name in CODED:
            altered = coded(altered, rate)
        states = said(view, chain(usual, altered), rate)[len(usual) :]
        at = next((t for t, state in enumerate(states) if state != State.USUAL), None)
        found.append((State.USUAL, None) if at is None else (states[at], at / rate))
    return found


def seconds_of_a_frame(view: NormalView, clip: Path) -> float:
    """Return the mean over a clip of what one core needs, without decoding."""
    frames, rate = list(islice(read_source(clip), 200)), frame_rate(clip) or 25.0
    started = time.process_time()
    said(view, frames, rate)
    return (time.process_time() - started) / len(frames)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("normal", type=Path, help="folder of normal clips of one camera")
    parser.add_argument("--also", type=Path, help="folder of others of the same camera, with or without anomalies")
    given = parser.parse_args()
    clips = sorted(path for path in given.normal.iterdir() if path.suffix in VIDEOS)
    rate = frame_rate(clips[0]) or 25.0
    folds = [(clips[::2], clips[1::2]), (clips[1::2], clips[::2])]
    views = [NormalView.of(stream(known)) for known, _ in folds]
    looked = (false_row(view, other, rate) for view, (_, other) in zip(views, folds, strict=True))
    false = {"held-out normal clips": sum(looked, Counter())}
    if given.also:
        others = sorted(path for path in given.also.iterdir() if path.suffix in VIDEOS)
        false["others"] = false_row(NormalView.of(stream(clips)), others, rate)
    rows = [
        {"clips": name, "minutes": row["frames"] / rate / 60,
         **{state: f"{row[f'{state} frames'] / row['frames']:.4f}, {row[f'{state} episodes']}"
            for state in State if state not in (State.USUAL, State.SCORES)}}
        for name, row in false.items()
    ]  # fmt: skip
    print("said of streams that are usual: share of the frames, episodes")
    print(pd.DataFrame(rows).round(1).to_string(index=False))
    kept = [looked_at(other, rate) for _, other in folds]
    print(pd.DataFrame([margins(*fold) for fold in zip(views, kept, strict=True)]).round(2).to_string(index=False))
    rows = []
    looks = rate / max(1, round(LOOK_EVERY * rate))
    for name in [*ALTERED, *CODED]:
        made = [one for fold in zip(views, kept, strict=True) for one in trials(*fold, looks, name)]
        late = [seconds for _, seconds in made if seconds is not None]
        words = Counter(str(state) for state, _ in made if state != State.USUAL)
        rows.append({"altered": name, "trials": len(made), "said": len(late),
                     "median_delay_s": np.median(late) if late else None, "as": ", ".join(words)})  # fmt: skip
    print(pd.DataFrame(rows).round(1).to_string(index=False))
    print(f"{1000 * seconds_of_a_frame(views[0], clips[0]):.2f} ms a frame")


if __name__ == "__main__":
    main()
