"""Where the student and its teachers see anomalies in test clips."""

from collections.abc import Iterator, Mapping

import numpy as np

from vadistill.evaluation.ground_truth import Located
from vadistill.evaluation.localisation import PixelCounts, enlarge, low_threshold, map_regions
from vadistill.evaluation.rbdc_tbdc import Regions
from vadistill.evaluation.results import TeacherResult, highest_cells, mean_objects, object_regions
from vadistill.io.maps import MapStore
from vadistill.settings import Localisation


class Detectors:
    """The student, its teachers and their mean: what they say about the test clips."""

    def __init__(
        self, student: MapStore, normal: MapStore, teachers: Mapping[str, TeacherResult], settings: Localisation
    ) -> None:
        """Take what they said.

        Args:
            student: The student's maps of the test clips.
            normal: Its maps of training clips: they tell which values are ordinary.
            teachers: The teachers on the test clips.
            settings: Of the teachers' mean filter.
        """
        self.volume = (settings.filter_cell, settings.filter_cells, settings.filter_frames)
        self.objects = {name: teacher.objects for name, teacher in teachers.items()}
        self.maps = {"student": student, **{name: teacher.maps for name, teacher in teachers.items()}}
        self.side = max(student.resolutions(student.clips()[0]))
        self.threshold = low_threshold(highest_cells(normal, self.side), settings.map_share)
        first = next(iter(self.objects.values()))
        self.sizes = {clip: (part.frames, *part.size) for clip, part in first.items()}

    def regions(self, clip: str) -> Iterator[tuple[str, Regions]]:
        """Yield the regions of a clip by each detector."""
        maps = self._finest("student", clip)
        yield "student", map_regions(maps, self.sizes[clip][1:], self.threshold)
        for name, by_clip in self.objects.items():
            yield name, object_regions(by_clip[clip], *self.volume)
        together = mean_objects([by_clip[clip] for by_clip in self.objects.values()])
        yield "teachers_mean", object_regions(together, *self.volume)

    def count_pixels(self, pixels: dict[str, PixelCounts], truth: Located) -> None:
        """Compare the maps of a clip with its masks."""
        for name, store in self.maps.items():
            if name not in pixels:  # maps of the student are not bounded by 1
                pixels[name] = PixelCounts(max(1.0, float(highest_cells(store, self.side).max())))
            for cells, mask in zip(self._finest(name, truth.clip), truth.mask, strict=True):
                pixels[name].update(enlarge(cells, mask.shape), mask)

    def _finest(self, name: str, clip: str) -> np.ndarray:
        """Return the finest maps (T, g, g) of a detector for a clip."""
        return self.maps[name].read(clip, (self.side,))[self.side]
