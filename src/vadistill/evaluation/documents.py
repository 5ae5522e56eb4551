"""What is written from the typed results: ``python -m vadistill.evaluation.documents`` (``make settings``).

The tables of keys in docs/outputs.md, each between two comments; the rest of the page is edited by hand.
"""

import sys
from pathlib import Path

from vadistill.evaluation.alarm_thresholds import Alarms, Threshold
from vadistill.evaluation.auc_json import AlarmNumbers, ClipAuc, DetectorAuc, DetectorNumbers, Result
from vadistill.evaluation.localisation_json import DetectorRegions, LocalisationResult
from vadistill.io.json_records import table

RECORDS = (
    Result, DetectorAuc, ClipAuc, AlarmNumbers, DetectorNumbers, LocalisationResult, DetectorRegions, Alarms, Threshold
)  # fmt: skip
START, END = "<!-- Keys of {}, written by `make settings` -->\n", "<!-- End of the keys -->"


def with_tables(page: str) -> str:
    """Return the text of docs/outputs.md with its tables of keys written anew."""
    for kind in RECORDS:
        start = START.format(kind.__name__)
        before, rest = page.split(start)
        _, after = rest.split(END, maxsplit=1)
        page = f"{before}{start}\n{table(kind)}\n{END}{after}"
    return page


def main(root: Path) -> None:
    """Write the page below the root of a checkout."""
    path = root / "docs/outputs.md"
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
