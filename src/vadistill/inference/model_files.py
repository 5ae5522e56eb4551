"""The files in which students are stored, by the endings of their names."""

from pathlib import Path

from vadistill.errors import InputError
from vadistill.frame_level.packed import is_packed
from vadistill.io.formats import NO_ENDING, known_ending, listed

STUDENT, ONNX, OPENVINO = ".pt", ".onnx", ".xml"
STARTER = "starter"  # stands for the detector that comes with the package
EXPORTS = {ONNX: "ONNX", NO_ENDING: "OpenVINO, a folder of model.xml and model.bin"}
MODELS = {
    STUDENT: "a distilled student",
    OPENVINO: "OpenVINO",
    ONNX: "ONNX",
    NO_ENDING: "OpenVINO, a folder of model.xml and model.bin, or what 'vadistill pack' wrote",
}


def located(model: str | Path) -> Path:
    """Return where a model lies: the path, or the package's own detector for ``starter``, unless a file has that name.

    It was trained on generated scenes alone (``workflow/presets/starter.yaml``).
    """
    path = Path(model)
    return Path(__file__).parents[1] / STARTER if str(path) == STARTER and not path.exists() else path


def model_ending(model: Path) -> str:
    """Return the ending of a student's file, one of ``STUDENT``, ``ONNX`` and ``OPENVINO``, also of OpenVINO's folder.

    A folder that ``vadistill pack`` wrote is as good as a trained student.

    Raises:
        InputError: It is missing, or its ending is unknown.
    """
    if is_packed(model):
        return STUDENT
    found = NO_ENDING if model.is_dir() else known_ending(model, MODELS)
    if not model.exists():
        raise InputError(f"{model}: missing; expected {listed(MODELS)}")
    if not found and not model.is_dir():
        raise InputError(f"{model}: a file without an ending; known are {listed(MODELS)}")
    return found or OPENVINO


def check_student(model: Path) -> None:
    """Refuse what is no student as it was distilled.

    Raises:
        InputError: It is an export of one, missing, or its ending is unknown.
    """
    if model_ending(model) != STUDENT:
        raise InputError(f"{model}: an exported student; expected the distilled one that it was made of ({STUDENT})")
