"""Which frames of a clip make up the window around one of them."""

from collections.abc import Sequence


def window_indices(t: int, frames: int, offsets: Sequence[int], border: str = "repeat") -> list[int]:
    """Return the frame numbers of the window around t in a clip of so many frames; see ``FrameStore.window``."""
    if border == "repeat":
        return [t + offset if 0 <= t + offset < frames else t for offset in offsets]
    if border != "clamp":
        raise ValueError(f"border '{border}'; expected repeat or clamp")
    lowest, highest = -min(offsets), frames - 1 - max(offsets)
    centre = min(max(t, lowest), highest) if lowest <= highest else t
    return [min(max(centre + offset, 0), frames - 1) for offset in offsets]
