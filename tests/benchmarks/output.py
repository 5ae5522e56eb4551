"""Results of the benchmarks: JSON with the machine, and tables."""

from pathlib import Path
from typing import Any

import pandas as pd

from vadistill.benchmark.machine_peak import describe_machine
from vadistill.io.files import write_json
from vadistill.processors import cores
from vadistill.training.device import pick_device


def save(folder: Path, name: str, tables: dict[str, list[dict[str, Any]]], **more: Any) -> None:
    """Write name.json with all tables, the machine and whatever else, and name_<table>.csv of each; print them."""
    machine = describe_machine(pick_device(), cores())
    write_json(folder / f"{name}.json", {"machine": machine, **more, **tables})
    for key, rows in tables.items():
        table = pd.DataFrame(rows)
        table.to_csv(folder / f"{name}_{key}.csv", index=False)
        print(f"\n{name}: {key}\n{table.to_string(index=False)}", flush=True)
