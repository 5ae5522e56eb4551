# What rules are written with: functions that make functions of wildcards, which Snakemake calls with those of each job.
from functools import wraps

from vadistill.datasets.catalogue import Catalogue
from vadistill.datasets.raw_files import RAW
from vadistill.datasets.rule_settings import rule_settings
from vadistill.settings import DETECTORS, MODEL, TEACHERS, teachers_of
from vadistill.settings.ablation import ABLATIONS
from vadistill.training.driver import has_gpu

from snakemake.logging import logger

# The data sets of the config, by name. One that no target asks for is not looked at.
DATA = Catalogue(config, warn=logger.warning, check_names=check_for_cluster)


# Whether this is a cluster is known only when jobs are made, so that these two are functions.
def gpu(wildcards):
    """One GPU on a cluster, whose jobs ask for it, and where this machine has one."""
    return int(not workflow.local_exec or has_gpu())


def network_threads(wildcards):
    """All processors beside a GPU, which one rule at a time has; else so few that four jobs run side by side.

    Several threads of one job wait for the slowest of them, which whatever else runs delays (docs/speed.md).
    """
    return workflow.cores if gpu(wildcards) else max(1, workflow.cores // 4)


def urgency(wildcards):
    """The priority of a job: what the student's training waits for starts before what is only tested or looked at.

    First the teachers' trainings, in the order of their table, which begins with the longest; then synthetic clips, which
    have the longest way to go. What asks for no priority has 0, the split validation as well, which few students wait for.
    """
    if "split" in wildcards.keys():
        return {"train": 1, "synthetic": 2}.get(wildcards.split, 0)
    return len(TEACHERS) - list(TEACHERS).index(wildcards.teacher) if "teacher" in wildcards.keys() else 1


def flow_urgency(wildcards):
    """The priority of the flow of objects: of the split train it is that of the longest training, which waits for it."""
    return len(TEACHERS) if wildcards.split == "train" else urgency(wildcards)


wildcard_constraints:
    dataset=r"[^/]+",
    split="train|synthetic|validation|test",
    shard=r"\d+",
    teacher="|".join(TEACHERS),
    detector="|".join(DETECTORS),
    clip=r"[^/]+",


def in_one_line(function):
    """The function, whose bad inputs are errors of the workflow."""

    @wraps(function)
    def call(*arguments, **named):
        try:
            return function(*arguments, **named)
        except InputError as error:
            raise WorkflowError(str(error)) from None

    return call


def settings(stage):
    """The only param of a rule: canonical JSON of what its stage reads, as a function of wildcards."""

    @in_one_line
    def text(wildcards):
        known = dict(wildcards.items())
        return rule_settings(DATA[wildcards.dataset], stage.format(**known), known)

    return text


def configured(name):
    """The value of a setting, <section>.<key>, as a function of wildcards."""
    section, key = name.split(".")
    return in_one_line(lambda wildcards: getattr(DATA[wildcards.dataset].section(section), key))


def about(name):
    """What the data set says of itself (Dataset in vadistill.datasets.catalogue), as a function of wildcards."""
    return in_one_line(lambda wildcards: getattr(DATA[wildcards.dataset], name))


def files(product, split=None, teachers=None, clips=None):
    """The files of a product (FILES in vadistill.datasets.catalogue), as a function of wildcards.

    They are of the rule's own split and teacher, and of its own shard or clip, where it has one, else of all. A rule
    without a split is about test clips. Others can be given: a name, several, or a function of wildcards.
    """

    def given(names, own, wildcards):
        names = own if names is None else names(wildcards) if callable(names) else names
        return [names] if isinstance(names, str) else list(names)

    @in_one_line
    def paths(wildcards):
        own_split, own_teacher = wildcards.get("split", "test"), wildcards.get("teacher", "")
        found = []
        for part in given(split, own_split, wildcards):
            own = wildcards if part == own_split else {}
            found += DATA[wildcards.dataset].files(
                product,
                part,
                teachers=given(teachers, own_teacher, wildcards),
                clips=given(clips, own.get("clip", ()), wildcards),
                shard=own.get("shard", ""),
            )
        return found

    return paths


def raw(kind):
    """Files from outside the results (RAW in vadistill.datasets.raw_files), as a function of wildcards.

    A new date of theirs means nothing: what they hold is among the settings.
    """
    return ancient(in_one_line(lambda wildcards: RAW[kind](DATA[wildcards.dataset], dict(wildcards.items()))))


# Of trainings, whose batches several processes may share, each on a GPU of its own (gpus in config.yaml): functions of
# wildcards, by the section of the settings that says how it learns.
def learners(section):
    """How many processes share the batches."""
    return in_one_line(lambda wildcards: DATA[wildcards.dataset].processes(section.format(**wildcards)))


def learners_gpus(section):
    """A GPU for each of them, where there is one."""
    return lambda wildcards: gpu(wildcards) * learners(section)(wildcards)


def learners_threads(section):
    """As many as for any network, and at least one for each of them."""
    return lambda wildcards: max(network_threads(wildcards), learners(section)(wildcards))


def memory(megabytes, section=None):
    """The memory of a rule: half as much again with every further attempt, since the last one may have outgrown it.

    Of a training it is that of each process.
    """

    def asked(wildcards, attempt):
        return megabytes * (attempt + 1) // 2 * (learners(section)(wildcards) if section else 1)

    return asked


def trained_detector(wildcards):
    """The file of a trained frame-level detector."""
    return f"results/{wildcards.dataset}/{wildcards.detector}/{DETECTORS[wildcards.detector].model}"


# Of the scores of a frame-level detector also a split: the training clips that it does not learn from.
HELD_OUT = "held_out"
held_out_frames = files("frames", "train", clips=about("held_out"))


def scored_frames(wildcards):
    """The frames of a split that a frame-level detector scores."""
    return (held_out_frames if wildcards.split == HELD_OUT else files("frames"))(wildcards)


# The frame-level detectors that have a folder of their own for all that is known of them.
OTHER_DETECTORS = [name for name in DETECTORS if name != "student"]
# Those of them that one rule trains, of frames alone.
TRAINED_DETECTORS = [name for name, settings in DETECTORS.items() if settings.model == MODEL]

# Functions of wildcards, for the above.
student_teachers = configured("distillation.teachers")
student_splits = branch(configured("distillation.synthetic"), then=["train", "synthetic"], otherwise="train")
tabled_splits = branch(about("labelled"), then=["validation", "test"], otherwise="validation")


@in_one_line
def keeps_flow(wildcards):
    """Whether the rule's teacher reads the kept flow of objects."""
    return DATA[wildcards.dataset].keeps_flow(wildcards.teacher)


def selected_on_validation(wildcards):
    return configured("distillation.selection")(wildcards) == "validation"


@in_one_line
def synthetic_source(wildcards):
    return DATA[wildcards.dataset].clip(wildcards.split, wildcards.clip).source


@in_one_line
def variants(wildcards):
    return DATA.variant_groups(wildcards.dataset, wildcards.who)


@in_one_line
def judge_runs(wildcards):
    return DATA.ablation_groups("judge", wildcards.dataset)


@in_one_line
def ablation_runs(wildcards):
    return DATA.ablation_groups(wildcards.get("detector", "student"), wildcards.dataset)
