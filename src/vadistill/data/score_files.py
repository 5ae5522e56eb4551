"""Frame scores and labels of any detector: a folder of ``<clip>.npy`` or one ``.npz``, one array (T,) a clip."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vadistill.data.arrays import load_arrays, load_member
from vadistill.data.clips import visible
from vadistill.errors import InputError
from vadistill.files import checked_path

Arrays = dict[str, np.ndarray]


def read_scores(path: str | Path) -> Arrays:
    """Return the scores (T,) of every clip.

    Raises:
        InputError: The path is no folder of .npy files and no .npz, it holds no clips, or an array is not what it
            should be: (T,) finite numbers.
    """
    scores = {}
    for clip, place, array in _arrays(Path(path)):
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise InputError(f"{place}: holds {array.dtype} or numbers that are not finite; expected finite scores")
        scores[clip] = array.astype(np.float64)
    return scores


def read_frame_labels(path: str | Path) -> Arrays:
    """Return the labels (T,) of every clip, 0 = normal, 1 = abnormal; errors as in ``read_scores``."""
    labels = {}
    for clip, place, array in _arrays(Path(path)):
        if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
            raise InputError(f"{place}: holds other things than 0 and 1; expected 0 = normal, 1 = abnormal")
        labels[clip] = array.astype(np.uint8)
    return labels


def check_pair(scores_path: str | Path, scores: Arrays, labels_path: str | Path, labels: Arrays) -> None:
    """Check that scores and labels are of the same clips and lengths.

    Raises:
        InputError: They are not; the line names both places and the clip.
    """
    for clip in sorted(scores.keys() | labels.keys()):
        for path, part, other_path in ((scores_path, scores, labels_path), (labels_path, labels, scores_path)):
            if clip not in part:
                raise InputError(f"{path}: no clip '{clip}', which {other_path} has; expected the same clips in both")
        if len(scores[clip]) != len(labels[clip]):
            found = f"{len(scores[clip])} scores, and {labels_path} {len(labels[clip])} labels"
            raise InputError(f"{scores_path}: clip '{clip}' has {found}; expected one each a frame")


def _arrays(path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the name of each clip, where its array stands, for messages, and the array (T,)."""
    if checked_path(path).is_dir():
        files = [file for file in visible(path) if file.suffix == ".npy"]
        found = ((file.stem, str(file), load_arrays(file)) for file in files)
    elif path.is_file():
        archive = load_arrays(path)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: one array; expected a .npz keyed by clip, or a folder of <clip>.npy")
        found = ((clip, f"{path}: clip '{clip}'", load_member(archive, clip, path)) for clip in archive.files)
    else:
        raise InputError(f"{path}: missing; expected a folder of <clip>.npy, or a .npz keyed by clip")
    empty = True
    for clip, place, array in found:
        empty = False
        if not isinstance(array, np.ndarray) or array.ndim != 1 or not array.size:
            raise InputError(f"{place}: shape {getattr(array, 'shape', None)}; expected (T,), one number a frame")
        yield clip, place, array
    if empty:
        raise InputError(f"{path}: no clips; expected a folder of <clip>.npy, or a .npz keyed by clip")
