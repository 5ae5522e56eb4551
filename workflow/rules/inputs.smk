# Inputs and settings of single rules. No computing, no rules.
import os
from dataclasses import asdict
from functools import partial

from vadistill.settings.ablation import configured_variant
from vadistill.settings.stages import all_settings
from vadistill.io.files import fingerprint
from vadistill.settings import OFFICIAL_WEIGHTS, canonical


def frames_of_test_clip(wildcards):
    """The frames of a rule's test clip."""
    return place("frames", wildcards.dataset, split="test", clip=clip(wildcards).name)


def scores_of_test_clip(wildcards):
    """For every teacher the object scores of the shard that holds a rule's test clip."""
    shard = shards(wildcards.dataset, "test")[clip(wildcards).name]
    return [place("scores", wildcards.dataset, split="test", shard=shard, teacher=name) for name in teachers(wildcards)]


def distilled_on(of_split):
    """Files of the splits that the student is distilled on, given a function that returns those of one split."""

    def paths(wildcards):
        settings = dataset_section(config, wildcards.dataset, "distillation")
        splits = ("train", "synthetic") if settings.synthetic else ("train",)
        return [path for split in splits for path in of_split(split)(wildcards)]

    return paths


def scores_with_features(wildcards):
    """What the teachers saw of the objects that the student is distilled on, where it learns from that."""
    used = dataset_section(config, wildcards.dataset, "distillation").feature_weight > 0
    return distilled_on(partial(of_teachers, "scores"))(wildcards) if used else []


def distillation_settings(wildcards):
    """The settings of distill_student, with the clips that it does not learn from: what it is judged by is made of them."""
    dataset, used = wildcards.dataset, dataset_section(config, wildcards.dataset, "distillation")
    made = {"synthetic": used.synthetic, "validation": used.selection == "validation"}
    # Named in the student's provenance; the clips themselves are inputs.
    sections = {name: asdict(dataset_section(config, dataset, name)) for name, read in made.items() if read}
    return stage_settings(config, dataset, "distill_student", held_out_clips=held_out(dataset), **sections)


def judged_by(validation):
    """Files of the split validation, a pattern or a function, where clips are held out for it."""

    def paths(wildcards):
        if not held_out(wildcards.dataset):
            return []
        return validation(wildcards) if callable(validation) else validation.format(dataset=wildcards.dataset)

    return paths


def selected_by(what):
    """The frames, or the boxes, of the split validation, where the student is selected by it."""

    def paths(wildcards):
        if dataset_section(config, wildcards.dataset, "distillation").selection == "last":
            return []
        return frames("validation")(wildcards) if what == "frames" else validation_boxes(wildcards)

    return paths


def synthetic_source(wildcards):
    """The frames of the training clip that a clip with a synthetic anomaly is made of."""
    return place("frames", wildcards.dataset, split="train", clip=clip(wildcards)[0])


def synthetic_settings(wildcards):
    """Which anomaly is made, and the part of the clip that it may be made in."""
    _, part, kind = clip(wildcards)
    scene = dataset_section(config, wildcards.dataset, "objects").scene
    stage = f"make_{wildcards.split}_clip"
    return stage_settings(config, wildcards.dataset, stage, kind=kind, part=part, scene=scene)


def validation_boxes(wildcards):
    """Where the anomalies of the validation clips are."""
    home = owner(config, wildcards.dataset, "frames", "validation")
    return [f"results/{home}/validation/{name}.npy" for name in clips(wildcards.dataset, "validation")]


def truth_boxes(wildcards):
    """Where the anomalies of the validation clips are; nothing for other splits, which have labels."""
    return validation_boxes(wildcards) if wildcards.split == "validation" else []


def image_pool(wildcards):
    """The folder of images for pseudo-anomalies, where the teacher has one."""
    pool = getattr(dataset_section(config, wildcards.dataset, wildcards.teacher), "image_pool", "")
    if pool and not Path(pool).is_dir():
        raise WorkflowError(f"{pool}: missing; {wildcards.teacher}.image_pool is expected to be a folder of images")
    return pool or []


def network_weights(wildcards):
    """The weights in resources/weights of the pre-trained network that a teacher wants: ResNet-50 or RAFT.

    The stage itself looks into torch's cache: what lies outside the project is no input of a rule.
    """
    network = dataset_section(config, wildcards.dataset, wildcards.teacher).network
    found = sorted(Path("resources/weights").glob(f"{network}*.pth")) if network else []
    return str(found[-1]) if found else []


def training_settings(wildcards):
    """Settings of train_teacher, with the content of what lies outside the data set."""
    pool, weights = image_pool(wildcards), network_weights(wildcards)
    folders = sorted({path.parent for path in Path(pool).rglob("*")}) if pool else []
    content = {str(path): fingerprint(path) for path in [*folders, *([weights] if weights else [])]}
    content = {"resources": content} if content else {}
    return stage_settings(config, wildcards.dataset, "train_teacher", wildcards.teacher, **content)


def weights(wildcards):
    # An absolute path, as ~ and variables make it, stays what it is.
    return os.path.join("resources/weights", dataset_section(config, wildcards.dataset, "detection").weights)


def label_files(wildcards):
    """The files that the labels of the test clips are read from."""
    sources = [clip.labels for clip in clips(wildcards.dataset, "test").values() if clip.labels]
    return sorted({str(path) for source in sources for path in (source.frames, source.masks) if path})


def track_files(wildcards):
    """The published tracks of abnormal regions, where the data set has them."""
    folder = dataset_section(config, wildcards.dataset, "localisation").tracks
    found = sorted(str(path) for path in Path(folder).glob("*.txt")) if folder else []
    if folder and not found:
        raise WorkflowError(f"{folder}: no .txt files; localisation.tracks is expected to be a folder of <clip>.txt")
    return found


def known_places(wildcards):
    """The files that say where the anomalies of the test clips are; none where nothing does."""
    sources = [clip.labels for clip in clips(wildcards.dataset, "test").values() if clip.labels]
    known = track_files(wildcards) or any(source.masks for source in sources)
    return sorted({*label_files(wildcards), *track_files(wildcards)}) if known else []


def localisation(wildcards):
    """Where anomalies are found, if it is known where they are."""
    return f"results/{wildcards.dataset}/localisation.json" if known_places(wildcards) else []


def truth_files(wildcards):
    """The files that say where the anomalies of the test clips are."""
    if not known_places(wildcards):
        raise WorkflowError(
            f"{wildcards.dataset}: nothing says where the anomalies of its test clips are; localisation.json needs pixel"
            " masks, or localisation.tracks"
        )
    return ancient(known_places(wildcards))


def fingerprints(paths):
    """Content of raw inputs, for the settings of the rules that read them: a new date alone changes nothing."""
    return {str(path): fingerprint(path) for path in paths if Path(path).exists()}


def extraction_settings(wildcards):
    """A generated clip is known by its settings before it exists, any other one by its content."""
    if dataset_config(config, wildcards.dataset)["layout"] == "demo":
        content = stage_settings(config, wildcards.dataset, "generate_demo")
    else:
        content = fingerprint(clip(wildcards).source)
    depth = {"depth": path for path in measured_depth(wildcards)}
    return stage_settings(config, wildcards.dataset, "extract_frames", fingerprint=content, **depth)


def measured_depth(wildcards):
    """The file with the range of images of more than 8 bits, where it is measured; a generated data set has none."""
    dataset = wildcards.dataset
    if (
        dataset_section(config, dataset, "frames").depth == "full"
        or dataset_config(config, dataset)["layout"] == "demo"
    ):
        return []
    return [f"results/{dataset}/depth.json"]


def training_sources(wildcards):
    return [str(found.source) for found in clips(wildcards.dataset, "train").values()]


def depth_settings(wildcards):
    """The settings of measure_depth: the content of the training clips."""
    content = {path: fingerprint(path) for path in training_sources(wildcards)}
    return stage_settings(config, wildcards.dataset, "measure_depth", fingerprints=content)


def detection_settings(wildcards):
    """Official weights are known by their name, since they may not be here yet; any other ones by their content."""
    path = Path(weights(wildcards))
    content = "official" if path.name in OFFICIAL_WEIGHTS or not path.exists() else fingerprint(path)
    return stage_settings(config, wildcards.dataset, "detect_objects", fingerprint=content)


def labelled_settings(stage):
    """Settings of the stages that read labels: where the data set lies, and what is in its labels."""

    def content(wildcards):
        if wildcards.get("split") == "validation":
            return stage_settings(config, wildcards.dataset, stage)
        values = dataset_config(config, wildcards.dataset)
        made = values["layout"] == "demo"
        return stage_settings(
            config,
            wildcards.dataset,
            stage,
            layout=values["layout"],
            path=f"results/{owner(config, wildcards.dataset, 'frames')}/clips" if made else values["path"],
            labels={} if made else fingerprints(label_files(wildcards)),
            **({"tracks": fingerprints(track_files(wildcards))} if stage == "evaluate_regions" else {}),
            **({"left_out_clips": short} if stage == "evaluate" and (short := left_out(wildcards.dataset)) else {}),
        )

    return content


def detector_weights():
    """The detector weights that any data set names."""
    return sorted({dataset_section(config, name, "detection").weights for name in config["datasets"]})


def pretrained(wildcards):
    """The pre-trained weights, where the student starts from them."""
    wanted = dataset_section(config, wildcards.dataset, "distillation").pretrained
    return place("pretrained", wildcards.dataset) if wanted else []


def calibration_part(dataset):
    """The training clips that teachers are calibrated on, and the share of each clip at which its part begins."""
    held = held_out(dataset)
    if dataset_section(config, dataset, "calibration").clips == "all" or not held:
        return dict.fromkeys(clips(dataset, "train"), 0.0)
    return held


def calibrated_on(wildcards):
    """The shards that hold these clips; the others need not be scored for it."""
    members = shards(wildcards.dataset, "train")
    numbers = sorted({members[name] for name in calibration_part(wildcards.dataset)})
    parts = {"split": "train", "teacher": wildcards.teacher}
    return [place("scores", wildcards.dataset, shard=number, **parts) for number in numbers]


def calibration_settings(wildcards):
    part = calibration_part(wildcards.dataset)
    return stage_settings(config, wildcards.dataset, "calibrate_teacher", fitted_on=part)


def variants(dataset):
    """The data set itself and its variants, but for the runs of its ablation."""
    entries = [name for name, own in config["datasets"].items() if own.get("variant_of") == dataset]
    return [dataset] + [name for name in entries if name not in ABLATIONS.get(dataset, ())]


def tables(wildcards, who, names):
    """The tables of some variants of a data set; of the test split where it has labels."""
    splits = ("validation", "test") if label_files(wildcards) else ("validation",)
    return [f"results/{name}/{who}_{split}.csv" for split in splits for name in names]


def variant_tables(wildcards):
    """The tables of a data set and of its variants."""
    return tables(wildcards, wildcards.who, groups_of_variants(wildcards.dataset, wildcards.who))


def ablation_tables(wildcards):
    """The students' tables of all runs of an ablation."""
    if wildcards.dataset not in ABLATIONS:
        raise WorkflowError(f"{wildcards.dataset}: is no data set with layout and path; its ablation is not defined")
    return tables(wildcards, "student", ABLATIONS[wildcards.dataset])


def groups_of_variants(dataset, who):
    """For each variant the first one that differs in nothing but seeds; one that differs in nothing is left out."""
    student = who == "student"
    first, seen, groups = {}, set(), {}
    for name in variants(dataset):
        everything = all_settings(config, name, student)
        if everything not in seen:
            seen.add(everything)
            groups[name] = first.setdefault(all_settings(config, name, student, seeds=False), name)
    return groups


def ablation_groups(wildcards):
    groups = ABLATIONS.get(wildcards.dataset, {})
    return canonical({"version": 3, "groups": groups, "configured": configured_variant(config, wildcards.dataset)})


def variant_groups(wildcards):
    return canonical({"version": 2, "groups": groups_of_variants(wildcards.dataset, wildcards.who)})
