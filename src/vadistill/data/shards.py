"""Stable orders and shards of clips: a new clip changes the place of no other one."""

import hashlib
from collections.abc import Iterable


def shard_of(clip: str, shards: int) -> int:
    """Return the shard of a clip: a hash of its name modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8], "big") % shards


def stable_order(clips: Iterable[str]) -> list[str]:
    """Return the clips in an order that looks random and depends on their names only."""
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())


def held_out_part(clips: Iterable[str], share: float) -> dict[str, float]:
    """Return the training clips that no teacher is fitted on, and the share of each clip's frames before that part.

    So many clips of a stable order are held out whole, at least one; of a single clip its last part in time.
    """
    ordered = stable_order(clips)
    if share == 0:
        return {}
    if len(ordered) == 1:
        return {ordered[0]: 1 - share}
    return dict.fromkeys(ordered[: max(1, round(share * len(ordered)))], 0.0)
