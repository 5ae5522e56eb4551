"""What follows from the names of clips alone: shards, scenes, and which training clips are held out."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vadistill.errors import InputError
from vadistill.settings import ANOMALY_KINDS

# The splits that are made from training clips: from the held-out ones, and from the others.
SYNTHETIC = ("validation", "synthetic")


def shard_of(clip: str, shards: int) -> int:
    """Return the shard of a clip: a hash of its name modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8], "big") % shards


def stable_order(clips: Iterable[str]) -> list[str]:
    """Return the clips in an order that looks random and depends on their names only."""
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())


def source_of(clip: str) -> str:
    """Return the training clip that a clip ``<training clip>.<kind>`` with a synthetic anomaly was made of."""
    name, _, kind = clip.rpartition(".")
    return name if name and kind in ANOMALY_KINDS else clip


def scene_of(clip: str, pattern: str) -> str:
    """Return the scene of a clip: the first group of ``pattern`` where it first matches in the clip's name.

    A clip with a synthetic anomaly shows the scene of the training clip that it was made of.

    Raises:
        InputError: ``pattern`` is no regular expression with a group, or does not match.
    """
    if not pattern:
        return ""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"objects.scene: '{pattern}' is no regular expression ({error})") from error
    if not expression.groups:
        raise InputError(f"objects.scene: '{pattern}' has no group; expected one around the scene's name")
    found = expression.search(source_of(clip))
    if not found or found[1] is None:
        raise InputError(f"clip {clip}: its name does not match objects.scene '{pattern}'")
    return found[1]


def held_out_part(scenes: Mapping[str, str], share: float) -> dict[str, float]:
    """Return {held-out clip: start}: its frames from this share of the clip on are held out (0.0: all of them).

    Of every scene that has more than one clip, so many clips of a stable order are held out whole, at least one. Where
    no scene has, they come from all clips; of a single clip its last part in time is held out.

    Args:
        scenes: Scene of each training clip.
        share: Of the clips.
    """
    if share == 0:
        return {}
    if len(scenes) == 1:
        return dict.fromkeys(scenes, 1 - share)
    groups: dict[str, list[str]] = {}
    for clip in stable_order(scenes):
        groups.setdefault(scenes[clip], []).append(clip)
    parts = [group for group in groups.values() if len(group) > 1] or [stable_order(scenes)]
    held = [clip for group in parts for clip in group[: max(1, round(share * len(group)))]]
    return dict.fromkeys(stable_order(held), 0.0)


@dataclass(frozen=True)
class SyntheticClip:
    """A clip with a synthetic anomaly that is to be made.

    Attributes:
        source: The training clip that it is made of.
        part: Start and end of the part of it that is used, from 0 to 1.
        kind: Of the anomaly.
    """

    source: str
    part: tuple[float, float]
    kind: str


def synthetic_clips(
    split: str, train: Iterable[str], held: Mapping[str, float], kinds: Iterable[str], most: int
) -> dict[str, SyntheticClip]:
    """Return the clips with synthetic anomalies of a split, by name, each kind of every source.

    Args:
        split: ``validation``, made from what is held out, or ``synthetic``, made from the rest.
        train: Training clips.
        held: Those that are held out, as of ``held_out_part``.
        kinds: Kinds of anomalies.
        most: Number of training clips that are used at most.
    """
    if split == "validation":
        parts = {clip: (start, 1.0) for clip, start in held.items()}
    else:
        parts = {clip: (0.0, held.get(clip, 1.0)) for clip in stable_order(train) if held.get(clip, 1.0)}
    sources = list(parts.items())[:most]
    return {f"{clip}.{kind}": SyntheticClip(clip, part, kind) for clip, part in sources for kind in kinds}


def first_held_out(start: float, frames: int) -> int:
    """Return the first frame of the held-out part of a clip of so many frames."""
    return math.ceil(start * frames)
