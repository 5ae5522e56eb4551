# Which clips, files and settings belong to a data set. No computing, no rules.
import re
import shlex
import sys
from functools import lru_cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from vadistill import config as config_check
from vadistill.data.clips import Clip, demo_clips, read_clips
from vadistill.data.shards import shard_of
from vadistill.errors import InputError
from vadistill.files import fingerprint
from vadistill.settings import OFFICIAL_WEIGHTS, TEACHERS, dataset_config, dataset_section, stage_settings

try:
    config_check.check(config)
except InputError as error:
    raise WorkflowError(str(error)) from None


def shell_prefix():
    """The package is found without being installed, and `python` is the one that runs snakemake."""
    lines = ["set -euo pipefail", f"export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}"]
    if not workflow.deployment_settings.deployment_method:
        lines.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    return "; ".join(lines) + "; "


shell.prefix(shell_prefix())


wildcard_constraints:
    dataset=r"[^/]+",
    split="train|test",
    shard=r"\d+",
    teacher="|".join(TEACHERS),
    clip=r"[^/]+",


def settings(stage):
    """The only param of a rule: canonical JSON of what its stage reads, as a function of wildcards."""
    return lambda wildcards: stage_settings(config, wildcards.dataset, stage, wildcards.get("teacher", ""))


@lru_cache
def clips(dataset, split):
    """The clips of a split, by name. A data set that no target asks for is not looked at."""
    try:
        values = dataset_config(config, dataset)
        if values["layout"] == "demo":
            found = demo_clips(Path(f"results/{dataset}/clips"), dataset_section(config, dataset, "demo"))
        else:
            found = read_clips(values["layout"], Path(values["path"]))
    except InputError as error:
        raise WorkflowError(str(error)) from None
    return {clip.name: clip for clip in found if clip.split == split}


def clip(wildcards):
    known = clips(wildcards.dataset, wildcards.split)
    if wildcards.clip not in known:
        raise WorkflowError(f"{wildcards.dataset}: no {wildcards.split} clip '{wildcards.clip}'")
    return known[wildcards.clip]


def shards(dataset, split):
    """The numbers of the shards that hold a clip."""
    count = dataset_config(config, dataset).get("shards", config.get("shards", 16))
    return {name: shard_of(name, count) for name in clips(dataset, split)}


def frames(split):
    """The frame stores of a split."""
    return lambda wildcards: [
        f"results/{wildcards.dataset}/frames/{split}/{name}.h5" for name in clips(wildcards.dataset, split)
    ]


def frames_of_shard(wildcards):
    members = shards(wildcards.dataset, wildcards.split)
    folder = f"results/{wildcards.dataset}/frames/{wildcards.split}"
    return [f"{folder}/{name}.h5" for name, shard in members.items() if shard == int(wildcards.shard)]


def sharded(pattern, split):
    """The shards of a split, for a pattern with {dataset}, {shard} and perhaps {teacher}."""

    def paths(wildcards):
        numbers = sorted(set(shards(wildcards.dataset, split).values()))
        return [pattern.format(**dict(wildcards.items()), shard=number) for number in numbers]

    return paths


def teachers(wildcards):
    """The teachers that the student of a data set is distilled from."""
    return dataset_section(config, wildcards.dataset, "distillation").teachers


def of_teachers(pattern, split=None):
    """Files of every teacher: one each, or all shards of a split."""

    def paths(wildcards):
        numbers = sorted(set(shards(wildcards.dataset, split).values())) if split else [None]
        names = teachers(wildcards)
        return [pattern.format(dataset=wildcards.dataset, teacher=t, shard=n) for t in names for n in numbers]

    return paths


def weights(wildcards):
    return f"resources/weights/{dataset_section(config, wildcards.dataset, 'detection').weights}"


def label_files(wildcards):
    """The files that the labels of the test clips are read from."""
    sources = [clip.labels for clip in clips(wildcards.dataset, "test").values() if clip.labels]
    return sorted({str(path) for source in sources for path in (source.frames, source.masks) if path})


def fingerprints(paths):
    """Content of raw inputs, for the settings of the rules that read them: a new date alone changes nothing."""
    return {str(path): fingerprint(path) for path in paths if Path(path).exists()}


def extraction_settings(wildcards):
    """A generated clip is known by its settings before it exists, any other one by its content."""
    if dataset_config(config, wildcards.dataset)["layout"] == "demo":
        content = stage_settings(config, wildcards.dataset, "generate_demo")
    else:
        content = fingerprint(clip(wildcards).source)
    return stage_settings(config, wildcards.dataset, "extract_frames", fingerprint=content)


def detection_settings(wildcards):
    """Official weights are known by their name, since they may not be here yet; any other ones by their content."""
    path = Path(weights(wildcards))
    content = "official" if path.name in OFFICIAL_WEIGHTS or not path.exists() else fingerprint(path)
    return stage_settings(config, wildcards.dataset, "detect_objects", fingerprint=content)


def labelled_settings(stage):
    """Settings of the stages that read labels: where the data set lies, and what is in its labels."""

    def content(wildcards):
        values = dataset_config(config, wildcards.dataset)
        made = values["layout"] == "demo"
        return stage_settings(
            config,
            wildcards.dataset,
            stage,
            layout=values["layout"],
            path=f"results/{wildcards.dataset}/clips" if made else values["path"],
            labels={} if made else fingerprints(label_files(wildcards)),
        )

    return content


def detector_weights():
    """The detector weights that any data set names."""
    return sorted({dataset_section(config, name, "detection").weights for name in config["datasets"]})


def pretrained(wildcards):
    """The pre-trained weights, where the student starts from them."""
    wanted = dataset_section(config, wildcards.dataset, "distillation").pretrained
    return f"results/{wildcards.dataset}/student/pretrained.pt" if wanted else []
