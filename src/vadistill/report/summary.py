"""What to say at the end of a run: ``python -m vadistill.report.summary results/demo``."""

import sys
from pathlib import Path

from vadistill.errors import InputError
from vadistill.evaluation.auc_json import Result
from vadistill.evaluation.auc_tables import percent
from vadistill.io.json_records import ABSENT


def summary(result: Result) -> str:
    """Return the table of a result."""
    rows = [
        ("student", result.student),
        *sorted(result.teachers.items()),
        ("mean of teachers", result.teachers_mean),
        *((f"trivial: {name}", row) for name, row in sorted(result.trivial.items())),
    ]
    lines = [
        f"{result.dataset}: {result.clips} test clips, {result.frames} frames",
        *(f"{clip}: repaired frames {frames}" for clip, frames in result.repaired_frames.items()),
        "",
        f"{'frame-level AUC in %':28}micro  macro",
        *(f"{name:28}{percent(row.micro_auc)}  {percent(row.macro_auc)}" for name, row in rows),
    ]
    return "\n".join([*lines, *([] if result.note is ABSENT else ["", result.note])])


def main(folder: Path) -> None:
    """Print the summary of the results in a folder."""
    print()
    print(summary(Result.read(folder / "auc.json")))
    print()
    print(f"everything measured: {folder / 'auc.json'}")
    print(f"score curves and anomaly maps of the test clips: {folder / 'pictures'}/")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except InputError as error:
        sys.exit(f"error: {error}")
