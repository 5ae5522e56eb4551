"""The model card of a packed detector: what it learned from, what it reaches, and what it was never tried on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.windows.training_conditions import Conditions

if TYPE_CHECKING:  # it brings torch, which a detector needs no longer once it is packed
    from vadistill.frame_level.base import FrameLevelDetector

Content = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What the results of a data set say of a detector.

    Attributes:
        dataset: Its name.
        detector: Name of the detector.
        auc: Content of its ``auc.json``, or None.
        localisation: Content of its ``localisation.json``, or None.
        speed: Content of ``speed.json``, or None.
        alarms: Its thresholds, or None.
        missing: What is not there and how to make it, a line each.
    """

    dataset: str
    detector: str
    auc: Content | None
    localisation: Content | None
    speed: Content | None
    alarms: Alarms | None
    missing: list[str]


def card(detector: "FrameLevelDetector", facts: Facts, files: list[str], version: str, revision: str | None) -> str:
    """Return the card as Markdown.

    Args:
        detector: The trained detector.
        facts: What is known of it.
        files: Names in the folder, but for the card and the manifest.
        version: Of this package.
        revision: Its git revision, where known.
    """
    height, width = detector.size
    offsets = ", ".join(f"{part:+d}" for part in detector.offsets)
    parts = [
        f"# {facts.detector}, trained on {facts.dataset}",
        "A frame-level video anomaly detector: frame scores, anomaly maps and alarms of surveillance video. "
        f"Packed by vadistill {version} (revision {revision or 'unknown'}).",
        "    vadistill score video.mp4 --model THIS_FOLDER --output scores",
        "## What goes in\n\n"
        f"Frames, brought to {height}x{width} pixels, at the offsets {offsets}"
        f"{', with their optical flow' if detector.flow != 'none' else ''}. {_filmed(detector)}",
        f"## How good it is\n\n{_accuracy(facts)}",
        f"## Alarms\n\n{_alarms(facts.alarms)}",
        f"## How fast it is\n\n{_speed(facts.speed)}",
        "## What it was never tried on\n\n"
        "Any camera but those of its training clips; another height, angle or lens; night or infra-red, rain, snow, "
        "moving cameras, unless its training clips had them. Abnormal is what was not seen in training: it says "
        "nothing of danger or guilt, and what is rare but harmless raises alarms, too. A score is no reason to act "
        "against a person without somebody looking.",
        "## Licence\n\nAGPL-3.0-or-later, as vadistill is. The terms of the clips that it was trained on are their "
        "owners'; several public data sets are for research only.",
        f"## Files\n\n{', '.join(f'`{name}`' for name in files)}; `manifest.json` has the SHA-256 of each.",
    ]
    return "\n\n".join(parts) + "\n"


def adapted_card(text: str, alarms: Alarms, places: bool) -> str:
    """Return the card of a detector that was adapted to another camera.

    Args:
        text: The card that it had.
        alarms: Its new thresholds.
        places: Whether each place of its maps is measured by what is usual there.
    """
    head, *sections = text.rstrip().split("\n\n## ") if text else ["# A frame-level video anomaly detector"]
    titles = ("Adapted to another camera", "Alarms")
    kept = [section for section in sections if not section.startswith(tuple(f"{title}\n" for title in titles))]
    adapted = (
        f"{titles[0]}\n\nWithout training, by {60 * (alarms.hours or 0):.3g} minutes of its normal video: "
        f"{', '.join(alarms.clips)}. Thresholds and the usual view are of this camera"
        f"{', and each place of the maps is measured by what is usual there' if places else ''}. "
        "Whatever else this card says of accuracy was measured on the first camera and need not hold here."
    )
    return "\n\n## ".join([head, adapted, f"{titles[1]}\n\n{_alarms(alarms)}", *kept]) + "\n"


def _filmed(detector: "FrameLevelDetector") -> str:
    known = Conditions.read(detector.settings)
    if known is None:
        return "How its training clips were filmed is not known."
    sizes = ", ".join(f"{width}x{height}" for width, height in known.sizes[:3])
    rates = (
        " to ".join(dict.fromkeys(f"{known.frames_per_second[end]:g}" for end in (0, -1)))
        if known.frames_per_second
        else ""
    )
    return f"Its {known.clips} training clips had {sizes} pixels and {rates or 'an unknown number of'} frames a second."


def _accuracy(facts: Facts) -> str:
    numbers = (facts.auc or {}).get("student" if facts.detector == "student" else "scores", {})
    if facts.auc is None or numbers.get("micro_auc") is None:
        return "Not measured: its test clips have no labels." if facts.auc else "Not measured."
    lines = [
        f"Frame-level AUC on the {facts.auc['clips']} test clips of {facts.dataset} ({facts.auc['frames']} frames), "
        f"protocol `{facts.auc['protocol']['name']}` ({facts.auc['protocol']['text']}):\n",
        "| | AUC in % | 95 % interval over clips |\n|---|---|---|",
    ]
    for kind in ("micro", "macro"):
        value, interval = numbers[f"{kind}_auc"], numbers.get(f"{kind}_interval")
        spread = " to ".join(f"{100 * bound:.1f}" for bound in interval) if interval else "too few clips"
        lines.append(f"| {kind} | {'none' if value is None else f'{100 * value:.1f}'} | {spread} |")
    trivial = {name: part["macro_auc"] for name, part in facts.auc["trivial"].items() if part.get("macro_auc")}
    if trivial:
        best = max(trivial, key=trivial.__getitem__)
        lines.append(f"\nThe best score without a model, `{best}`, has {100 * trivial[best]:.1f} (macro).")
    if facts.localisation:
        found = facts.localisation["detectors"][facts.detector]
        told = [f"{name.upper()} {100 * found[name]:.1f} %" for name in ("rbdc", "tbdc") if found[name] is not None]
        lines.append(f"\nLocalisation: {', '.join(told) or 'no regions to find'}.")
    return "\n".join(lines)


def _alarms(alarms: Alarms | None) -> str:
    if alarms is None or alarms.hours is None:
        return "No thresholds: no normal video with a known rate was held out."
    lines = [
        f"Thresholds of the score, smoothed by a Gaussian of {alarms.smoothing_s:g} s, from {60 * alarms.hours:.3g} "
        f"minutes of normal video that it did not learn from ({len(alarms.clips)} clips); alarms less than "
        f"{alarms.cool_down_s:g} s apart are one.\n",
        "| false alarms a day, at most | threshold | 95 % interval of the rate | found by |\n|---|---|---|---|",
    ]
    for wanted, found in alarms.thresholds.items():
        if found.threshold is None:
            continue
        rates = " to ".join(f"{bound:.3g}" for bound in found.rate_interval or [])
        lines.append(f"| {wanted} | {found.threshold:.4g} | {rates} | {found.method.replace('_', ' ')} |")
    notes = list(dict.fromkeys(found.note for found in alarms.thresholds.values() if found.note))
    return "\n".join([*lines, *(f"\n{note[0].upper()}{note[1:]}." for note in notes)])


def _speed(speed: Content | None) -> str:
    if not speed:
        return "Not measured: `vadistill benchmark speed.json --model .` does it on any machine."
    machine, best = speed["machine"], dict[str, float]()
    for row in speed["table"]:
        if row["part"] == speed["table"][0]["part"] and not row["backend"].startswith("official"):
            best[row["backend"]] = max(best.get(row["backend"], 0.0), row["frames_per_second"])
    lines = [f"| {name} | {rate:.1f} |" for name, rate in sorted(best.items(), key=lambda item: -item[1])]
    where = machine["gpu"] or f"{machine['processor']}, {machine['threads']} threads"
    part = speed["table"][0]["part"]
    head = f"Frames a second of the part `{part}`, at the best batch, on {where}:\n\n| backend | frames/s |\n|---|---|"
    return "\n".join([head, *lines])
