"""The project in folders of hostile names, and clips of hostile names on a cluster.

    PYTHONPATH=src:tests:tests/workflow python tests/trials/places.py FOLDER

FOLDER must not exist. Jobs of a cluster are submitted to a plain bash, by snakemake-executor-plugin-cluster-generic;
that part is left out where the plugin is not installed. Prints what happened to each name, and fails if any was run.
"""

import importlib.util
import json
import sys
from pathlib import Path

from conftest import Project, copy_project
from trees import pictures, write_mp4

FOLDERS = {
    True: ("it's", " space ", "-x", "a%sb", "é 監視", "a;touch x", "a&b|c", "*?[a]"),
    False: ("a:b", 'a"b', "a$(touch x)", "a`touch x`", "a\\b", "a{x}", "line\nbreak"),
}
CLIPS = {
    True: ("<img src=x> &amp; --", "a * ? [a-z] ; touch x | & %03d", "é 監視", " http:1; null ", "#=1+12!@^~()"),
    False: ("it's", "$(touch x)", "`touch x`", 'a"b', "a,b", "long " * 21 + "name"),
}
CLUSTER = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "bash", "--jobs", "1")


def tried(kind: str, name: str, project: Project, target: str, taken: bool, *arguments: str) -> bool:
    """Make a target; return whether that ended as it should, and nothing was run."""
    config = [path] if (path := project.folder / "changed.yaml").exists() else []
    done = project.snakemake(*arguments, target, config=config, check=False)
    made = (project.folder / target).exists()
    told = next((line for line in done.stderr.splitlines() if "expected" in line), "")
    good = made == taken == (done.returncode == 0) and (taken or bool(told)) and not list(project.folder.rglob("x"))
    print(f"{'as expected' if good else 'WRONG'}: {kind} {name!r}: {'works' if made else told[-160:]}", flush=True)
    return good


def in_folder(folder: Path, name: str, taken: bool) -> bool:
    """Run the project in a folder."""
    return tried("folder", name, copy_project(folder / name), "results/tiny/frames/train/train_01.h5", taken)


def on_cluster(folder: Path, index: int, name: str, taken: bool) -> bool:
    """Extract one clip as a job of a cluster."""
    project = copy_project(folder / f"cluster{index}")
    for split in ("train", "test"):
        write_mp4(project.folder / "resources/clips" / split / "clip.mp4", pictures())
    path = project.folder / "resources/clips/train/clip.mp4"
    path.rename(path.with_name(f"{name}.mp4"))
    project.changed(json.dumps({"datasets": {"clips": {"layout": "folder", "path": "resources/clips"}}}))
    return tried("clip on a cluster", name, project, f"results/clips/frames/train/{name}.h5", taken, *CLUSTER)


def main(folder: Path) -> None:
    """Run the trial."""
    good = [in_folder(folder, name, taken) for taken, names in FOLDERS.items() for name in names]
    if importlib.util.find_spec("snakemake_executor_plugin_cluster_generic"):
        clips = [(name, taken) for taken, names in CLIPS.items() for name in names]
        good += [on_cluster(folder, index, *clip) for index, clip in enumerate(clips)]
    print(f"{sum(good)} of {len(good)} as expected")
    sys.exit(not all(good))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
