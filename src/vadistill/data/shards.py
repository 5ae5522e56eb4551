"""Stable orders and shards of clips: a new clip changes the place of no other one."""

import hashlib
from collections.abc import Iterable


def shard_of(clip: str, shards: int) -> int:
    """Return the shard of a clip: a hash of its name modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8], "big") % shards


def stable_order(clips: Iterable[str]) -> list[str]:
    """Return the clips in an order that looks random and depends on their names only."""
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())
