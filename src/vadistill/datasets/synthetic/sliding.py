"""Still objects that slide through a clip over usual ground, one after another: faster, or larger, than is usual."""

import logging
from collections.abc import Iterator

import numpy as np

from vadistill.datasets.synthetic.cutouts import Placed
from vadistill.datasets.synthetic.normal_clip import NormalClip, cut_objects, drawn_figures
from vadistill.datasets.synthetic.placing import hasty_path
from vadistill.datasets.synthetic.tracks import Perspective, follow, motions

log = logging.getLogger(__name__)


class Sliding:
    """What slides through a clip, as its objects tell the usual place, direction, speed and size.

    Attributes:
        tracks: Of the clip's objects.
    """

    def __init__(
        self,
        clip: NormalClip,
        enlarged: tuple[float, float],
        haste: tuple[float, float],
        rng: np.random.Generator,
        drawn: bool = False,
    ) -> None:
        """Prepare for any number of objects.

        Args:
            clip: The normal clip.
            enlarged: Range of the size, times the usual one where the object slides.
            haste: Range of the speed, times the usual one.
            rng: All choices.
            drawn: Figures slide, as where nothing can be cut out.
        """
        self.tracks = follow(clip.frame, clip.box)
        self._moved, self._perspective = motions(self.tracks), Perspective(clip.box)
        inside = np.flatnonzero(np.isin(clip.frame, clip.usable))
        if not len(inside) and not drawn:
            log.info("no object: a drawn figure takes its place")
            drawn = True
        self._objects = drawn_figures(clip, rng) if drawn else cut_objects(clip, inside, rng)
        self._size, self._enlarged, self._haste, self._rng = clip.size, enlarged, haste, rng

    def one(self, most: int) -> list[Placed]:
        """Return the next object in successive frames, at most so many, from one end of its way to the other."""
        cutout, origin = next(self._objects)
        grown = self._rng.uniform(*self._enlarged)
        height = self._perspective.body(cutout.box[3] - cutout.box[1], origin)
        path = hasty_path(self._moved, height, self._size, self._haste, most, self._rng)
        return [Placed(cutout, grown * float(self._perspective.scale(foot[1], origin)), foot) for foot in path]

    def frames(self, count: int) -> Iterator[Placed]:
        """Yield one object after another, in so many frames altogether."""
        while count > 0:
            slide = self.one(count)
            yield from slide
            count -= len(slide)
