"""The manifest of a packed detector: versions, and a checksum of every file."""

from pathlib import Path

from vadistill import __version__
from vadistill.frame_level.packed import ADAPTED_FORMAT, FORMAT, MANIFEST, PLACES, Manifest
from vadistill.io.files import sha256, write_json
from vadistill.io.provenance import git_revision, package_versions


def write_manifest(folder: Path) -> None:
    """Write the manifest of all files of a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST]
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    made_by = {"vadistill": __version__, "git_revision": git_revision(), "packages": package_versions()}
    files = {name: sha256(folder / name) for name in names}
    version = ADAPTED_FORMAT if PLACES in files else FORMAT
    write_json(folder / MANIFEST, Manifest(vadistill_detector=version, made_by=made_by, files=files).content())
