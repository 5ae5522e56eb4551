"""calibration.json: how the terms of a teacher's objects become object scores and map values.

A checksum over the rest makes a changed digit as visible as a missing bracket; files without one are older.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from vadistill.errors import InputError
from vadistill.io.files import read_json, write_json
from vadistill.io.hdf5 import REMEDY
from vadistill.maps.calibration import Calibrator
from vadistill.settings import canonical

KEYS = {"teacher", "settings", "score", "single", "objects", "clips"}
LATER = {"checksum", "percentiles"}  # not in older files


def write_calibration(path: Path, content: dict[str, Any]) -> None:
    """Write what ``read_calibration`` reads.

    Args:
        path: The file.
        content: ``teacher``, ``settings``, the calibrator of its ``score`` and of every ``single`` term (see
            ``Calibrator.to_json``), the number of ``objects`` and the ``clips`` that it was fitted on, and which
            ``percentiles`` of their scores were taken.
    """
    write_json(path, {**content, "checksum": _checksum(content)})


def read_calibration(path: Path) -> dict[str, Any]:
    """Return what calibrate_teacher wrote.

    Raises:
        InputError: The file is missing, damaged or something else.
    """
    try:
        content = read_json(path)
    except InputError as error:
        raise InputError(f"{error}; {REMEDY}") from error
    if not isinstance(content, dict) or content.keys() - LATER != KEYS:
        raise InputError(f"{path}: no calibration of a teacher; expected {', '.join(sorted(KEYS))}; {REMEDY}")
    checksum = content.pop("checksum", None)
    try:
        if checksum not in (None, _checksum(content)):
            raise InputError(f"{path}: differs from what was written (checksum); {REMEDY}")
        for fitted in (content["score"], *content["single"].values()):
            Calibrator.from_json(fitted)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: holds no calibration of terms ({error!r}); {REMEDY}") from error
    return content


def _checksum(content: dict[str, Any]) -> str:
    # As it is read back: tuples become lists.
    return hashlib.sha256(canonical(json.loads(json.dumps(content))).encode()).hexdigest()[:16]
