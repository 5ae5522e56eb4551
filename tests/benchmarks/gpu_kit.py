"""What is carried to the machine of ``gpu_day``: clips, labels, and results that were made elsewhere.

    PYTHONPATH=src:tests python -m benchmarks.gpu_kit PROJECT kit.tar.xz

PROJECT is a folder with ``resources`` and ``results`` in which all is that the plan's steps do not make themselves. The
workflow is asked what they read (a dry run), and just that is packed. A kit of more than 64 MiB is refused, with the
sizes of its folders: carry fewer clips (a data set that is a folder of links to some of them), no synthetic clips
(``distillation.synthetic: false``), fewer teachers, no pixel masks; maps are float16 already.
"""

import argparse
import lzma
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu_plan import Part, Step, add_plan, chosen, environment

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import whole_file

MOST = 64 << 20  # bytes
DEEP = 4  # folders of a path that are told apart when sizes are told


def check_size(kit: Path, sizes: Mapping[str, int] | None = None, most: int = MOST, size: int | None = None) -> None:
    """Refuse a kit that is too large.

    Args:
        kit: The archive.
        sizes: In bytes, of the folders in it, where they are known.
        most: Bytes.
        size: Of the archive in bytes, where it is not there yet.

    Raises:
        InputError: It is.
    """
    if (total := kit.stat().st_size if size is None else size) > most:
        told = ", ".join(f"{name} {part / 2**20:.1f}" for name, part in Counter(sizes or {}).most_common())
        raise InputError(
            f"{kit}: {total / 2**20:.1f} MiB; expected at most {most / 2**20:.0f}: carry fewer clips, splits or "
            f"teachers{f' (in MiB: {told})' if told else ''}"
        )


def unpack(kit: Path, folder: Path) -> None:
    """Unpack a kit into a new folder.

    Raises:
        InputError: It is missing, too large, or no archive.
    """
    try:
        check_size(kit)
        with tarfile.open(kit) as archive:
            archive.extractall(folder, filter="data")
    except (OSError, tarfile.TarError, EOFError, lzma.LZMAError) as error:
        raise InputError(
            f"{kit}: no kit ({in_one_line(error)}); expected an archive that benchmarks.gpu_kit wrote"
        ) from error


def read_by(step: Step, values: dict[str, str], project: Path) -> set[str]:
    """Return the files of a project that a step of the workflow reads and does not make, relative to it.

    Raises:
        InputError: The workflow refuses it, for example since a result is missing that the step's rules do not make.
    """
    command = step.workflow(values, 1, "--dry-run", "--nolock", "--forceall")
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode:
        raise InputError(f"{project}: {' '.join(said.split())[-600:]}")
    reads, makes = (
        {name for line in re.findall(rf"^    {kind}: (.*)$", said, re.M) for name in line.split(", ")}
        for kind in ("input", "output")
    )
    return reads - makes


def carry(parts: Sequence[Part], values: dict[str, str], project: Path, kit: Path, most: int = MOST) -> None:
    """Pack what the parts need of a project into a new archive.

    Raises:
        InputError: Something is missing, or all is too large.
    """
    needed = {name for part in parts for step in part.steps if step.make for name in read_by(step, values, project)}
    sizes: Counter[str] = Counter()
    with whole_file(kit) as temporary:
        with temporary.open("wb") as stream, tarfile.open(fileobj=stream, mode="w:xz") as archive:
            for name in sorted(needed):
                before = stream.tell()
                archive.add((project / name).resolve(), name)
                sizes["/".join(Path(name).parent.parts[:DEEP])] += stream.tell() - before
        check_size(kit, sizes, most, temporary.stat().st_size)


def main() -> None:
    """Make a kit, and say how large it is."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("project", type=Path)
    arguments.add_argument("kit", type=Path)
    add_plan(arguments)
    args = arguments.parse_args()
    try:
        carry(*chosen(args), args.project, args.kit)
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{args.kit}: {args.kit.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
