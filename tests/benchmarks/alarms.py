"""Do thresholds from some normal clips give the wanted rate of false alarms on others?

    PYTHONPATH=src:tests python -m benchmarks.alarms SCORES.npz FRAMES_A_SECOND --hours 1 3 --wanted 6 24

``SCORES.npz`` holds the raw scores (T,) of normal clips by name, all of one camera and none that the detector learned
from. Thresholds are fitted on clips drawn at random, as many as the hours hold, and alarms counted in all others.
"""

import argparse
from pathlib import Path

import numpy as np

from vadistill.evaluation.alarm_thresholds import fit_alarms
from vadistill.evaluation.events import alarms
from vadistill.evaluation.metrics import smooth
from vadistill.evaluation.score_files import read_scores
from vadistill.settings import AlarmsConfig

DIVISIONS = 20


def realised(scores, rate, hours, wanted):
    """Return (DIVISIONS, W) alarms a day in the other clips at the thresholds of W wanted rates, and the methods."""
    settings, draw = AlarmsConfig(false_alarms_per_day=tuple(wanted)), np.random.default_rng(0)
    smoothed = {clip: smooth(values, settings.smoothing * rate) for clip, values in scores.items()}
    count = max(1, round(hours * 3600 * rate / np.mean([len(values) for values in scores.values()])))
    rates, methods = [], []
    for _ in range(DIVISIONS):
        clips = draw.permutation(sorted(scores)).tolist()
        made = fit_alarms("detector", {clip: scores[clip] for clip in clips[:count]}, rate, settings)
        days = sum(len(scores[clip]) for clip in clips[count:]) / rate / 86400
        rules = [made.rule(name, rate) for name in made.thresholds]
        rates.append([sum(len(alarms(smoothed[clip], rule)) for clip in clips[count:]) / days for rule in rules])
        methods = [found.method for found in made.thresholds.values()]
    return np.array(rates), methods


def main():
    """Print a row of each wanted rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("rate", type=float)
    parser.add_argument("--hours", type=float, nargs="+", default=[1 / 3, 1.0, 3.0])
    parser.add_argument("--wanted", type=float, nargs="+", default=[6.0, 24.0, 72.0, 240.0, 480.0])
    given = parser.parse_args()
    scores = read_scores(given.scores)
    for hours in given.hours:
        rates, methods = realised(scores, given.rate, hours, given.wanted)
        for wanted, method, found in zip(given.wanted, methods, rates.T, strict=True):
            low, middle, high = np.percentile(found, (10, 50, 90))
            within = np.mean((found >= wanted / 2) & (found <= 2 * wanted))
            print(f"{hours:5.2f} h, {wanted:5g} a day: {method:14}, realised {middle:6.1f} ({low:.1f} to {high:.1f}), "
                  f"within a factor of 2: {within:.2f}, at most twice: {np.mean(found <= 2 * wanted):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
