# Which clips, files and settings belong to a data set. No computing, no rules.
import sys
from functools import lru_cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from vadistill.settings.check import check
from vadistill.settings.ablation import ablation_runs
from vadistill.datasets.registry import demo_clips, read_clips
from vadistill.datasets.lengths import check_single, short_clips
from vadistill.datasets.splits import held_out_part, scene_of, shard_of, stable_order
from vadistill.errors import InputError
from vadistill.settings.stages import dataset_config, dataset_section, owner, stage_settings
from vadistill.settings import LEAST_FRAMES, TEACHERS

try:
    check(config)
except InputError as error:
    raise WorkflowError(str(error)) from None


# By data set: the variant that each run of its ablation belongs to. The runs become data sets of their own.
ABLATIONS = {}
for name in [name for name, entry in config["datasets"].items() if "variant_of" not in entry]:
    runs = ablation_runs(config, name)
    ABLATIONS[name] = {run: variant for run, (variant, _) in runs.items()}
    config["datasets"] |= {run: entry for run, (_, entry) in runs.items()}


wildcard_constraints:
    dataset=r"[^/]+",
    split="train|synthetic|validation|test",
    shard=r"\d+",
    teacher="|".join(TEACHERS),
    clip=r"[^/]+",


def settings(stage):
    """The only param of a rule: canonical JSON of what its stage reads, as a function of wildcards."""
    return lambda wildcards: stage_settings(config, wildcards.dataset, stage, wildcards.get("teacher", ""))


def memory(megabytes):
    """The memory of a rule: half as much again with every further attempt, since the last one may have outgrown it."""
    return lambda wildcards, attempt: megabytes * (attempt + 1) // 2


# Where each result lies in the folder of a data set.
PLACES = {
    "frames": "frames/{split}/{clip}.h5",
    "detections": "detections/{split}/{shard}.h5",
    "moving": "moving/{split}/{shard}.h5",
    "model": "teachers/{teacher}/model.pt",
    "scores": "object_scores/{teacher}/{split}/{shard}.h5",
    "calibration": "teachers/{teacher}/calibration.json",
    "maps": "maps/{teacher}/{split}/{shard}.h5",
    "trivial": "trivial/{split}/{shard}.h5",
    "pretrained": "student/pretrained.pt",
}


def place(product, dataset, **parts):
    """The file of a result: in the folder of the data set, or, for a variant, of the one that it shares it with."""
    home = owner(config, dataset, product, parts.get("split", ""), parts.get("teacher", ""))
    return f"results/{home}/{PLACES[product].format(**parts)}"


@lru_cache
def listed(dataset, split):
    """The clips of a split that lie in the data set, by name. A data set that no target asks for is not looked at."""
    try:
        values = dataset_config(config, dataset)
        if values["layout"] == "demo":
            home = owner(config, dataset, "frames")
            found = demo_clips(Path(f"results/{home}/clips"), dataset_section(config, dataset, "demo"))
        else:
            found = read_clips(values["layout"], Path(values["path"]))
    except InputError as error:
        raise WorkflowError(str(error)) from None
    named = {clip.name: clip for clip in found if clip.split == split}
    check_for_cluster(dataset, named)
    return named


@lru_cache
def left_out(dataset):
    """The training clips that are too short to be used, with their numbers of frames; generated ones are not counted."""
    home = owner(config, dataset, "frames")
    if home != dataset:
        return left_out(home)
    if dataset_config(config, dataset)["layout"] == "demo":
        return {}
    found, place_of = listed(dataset, "train"), lambda name: place("frames", dataset, split="train", clip=name)
    short = short_clips(found.values(), place_of)
    if len(short) == len(found):
        raise WorkflowError(
            f"{dataset}: no training clip has {LEAST_FRAMES} frames or more ("
            + ", ".join(f"{name}: {count}" for name, count in list(short.items())[:5])
            + f"{', ...' if len(short) > 5 else ''}); expected longer ones"
        )
    for name, count in short.items():
        logger.warning(
            f"{dataset}: the training clip '{name}' has {count} of the {LEAST_FRAMES} frames that are needed, and is left out"
        )
    return short


@lru_cache
def clips(dataset, split):
    """The clips of a split that are used, by name."""
    if split in ("validation", "synthetic"):
        return synthetic_clips(dataset, split)
    short = left_out(dataset) if split == "train" else ()
    return {name: clip for name, clip in listed(dataset, split).items() if name not in short}


def synthetic_clips(dataset, split):
    """By name <training clip>.<kind>: the training clip, the part of it that is used, from 0 to 1, and the kind."""
    settings, held = dataset_section(config, dataset, split), held_out(dataset)
    if split == "validation":
        parts = {name: (start, 1.0) for name, start in held.items()}
    else:
        ends = {name: held.get(name, 1.0) for name in stable_order(clips(dataset, "train"))}
        parts = {name: (0.0, end) for name, end in ends.items() if end}
    if not parts:
        raise WorkflowError(f"{dataset}: held_out.share is 0, so that there are no clips for the split validation")
    sources = list(parts.items())[: settings.clips]
    return {f"{name}.{kind}": (name, part, kind) for name, part in sources for kind in settings.kinds}


@lru_cache
def held_out(dataset):
    """The training clips that no teacher is fitted on, and the share of each clip at which that part begins."""
    pattern = dataset_section(config, dataset, "objects").scene
    share = dataset_section(config, dataset, "held_out").share
    demo = dataset_config(config, dataset)["layout"] == "demo"
    frames = dataset_section(config, dataset, "demo").frames if demo else None
    known = clips(dataset, "train")
    try:
        scenes = {name: scene_of(name, pattern) for name in known}
        if share and len(known) == 1:
            (only,) = known.values()
            check_single(only, place("frames", dataset, split="train", clip=only.name), share, frames)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    return held_out_part(scenes, share)


def clip(wildcards):
    """The clip of a rule: of its split, or a test clip for a rule without one."""
    split = wildcards.get("split", "test")
    known = (listed if split in ("train", "test") else clips)(wildcards.dataset, split)
    if wildcards.clip not in known:
        raise WorkflowError(f"{wildcards.dataset}: no {split} clip '{wildcards.clip}'")
    return known[wildcards.clip]


def shards(dataset, split):
    """The shard of every clip."""
    count = dataset_config(config, dataset).get("shards", config.get("shards", 16))
    return {name: shard_of(name, count) for name in clips(dataset, split)}


def frames(split):
    """The frame stores of a split."""
    return lambda wildcards: [
        place("frames", wildcards.dataset, split=split, clip=name) for name in clips(wildcards.dataset, split)
    ]


def frames_of_shard(wildcards):
    dataset, split = wildcards.dataset, wildcards.split
    members = [name for name, shard in shards(dataset, split).items() if shard == int(wildcards.shard)]
    return [place("frames", dataset, split=split, clip=name) for name in members]


def one(product):
    """The file of a result for the wildcards of a rule."""
    return lambda wildcards: place(product, wildcards.dataset, **{k: v for k, v in wildcards.items() if k != "dataset"})


def sharded(product, split=None):
    """All shards of a result for a split: the one given, or the rule's own."""

    def paths(wildcards):
        part = split or wildcards.split
        numbers = sorted(set(shards(wildcards.dataset, part).values()))
        teacher = wildcards.get("teacher", "")
        return [place(product, wildcards.dataset, split=part, shard=number, teacher=teacher) for number in numbers]

    return paths


def moving(split=None):
    """The moving regions of a rule's shard, or of all shards of a split, where they count as objects."""

    def paths(wildcards):
        if not dataset_section(config, wildcards.dataset, "objects").moving:
            return []
        return sharded("moving", split)(wildcards) if split else one("moving")(wildcards)

    return paths


def teachers(wildcards):
    """The teachers that the student of a data set is distilled from."""
    return dataset_section(config, wildcards.dataset, "distillation").teachers


def every_teacher(wildcards):
    return TEACHERS


def of_teachers(product, split=None, names=teachers):
    """Files of every teacher: one each, or all shards of a split (the rule's own for an empty name)."""

    def paths(wildcards):
        if split is None:
            return [place(product, wildcards.dataset, teacher=name) for name in names(wildcards)]
        part = split or wildcards.split
        numbers = sorted(set(shards(wildcards.dataset, part).values()))
        return [
            place(product, wildcards.dataset, split=part, shard=number, teacher=name)
            for name in names(wildcards)
            for number in numbers
        ]

    return paths
