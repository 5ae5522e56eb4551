"""The ablations of the papers as variants of a data set, each over several seeds.

The student's (arXiv 2211.15597): pre-training and adversarial distillation on and off, teachers alone, fewer map
resolutions, other numbers of input frames. SDMAE's (arXiv 2306.12041): without weighted tokens, the second decoder, the
classifier, pasted anomalies, and with them the classifier; without any of these and without masks; and both of these by
place. The student's change one thing each of what is configured, SDMAE's of the paper's form. All runs share what lies
before the network.
"""

from collections.abc import Iterator
from typing import Any

from vadistill.settings import SECTIONS, DistillationConfig
from vadistill.settings.stages import all_settings, dataset_section

PAPER_TEACHERS = ("background_agnostic", "multi_task")
FRAMES = (1, 3, 5)
_PAPER: dict[str, Any] = {
    "masked": True,
    "motion_weights": True,
    "error_weight": 0.4,
    "gap_weight": 0.3,
    "abnormal_weight": 0.3,
    "synthetic_share": 0.25,
    "classifier_weight": 1.0,
    "score": "paper",
}
_NO_CLASSIFIER = {**_PAPER, "classifier_weight": 0.0}
_NO_ANOMALIES = {**_NO_CLASSIFIER, "synthetic_share": 0.0}
_PLAIN = {**_NO_ANOMALIES, "masked": False, "motion_weights": False, "gap_weight": 0.0}
SDMAE_VARIANTS: dict[str, dict[str, Any]] = {
    "paper": _PAPER,
    "even_token_weights": {**_PAPER, "motion_weights": False},
    "no_self_distillation": {**_PAPER, "gap_weight": 0.0},
    "no_classifier": _NO_CLASSIFIER,
    "no_pasted_anomalies": _NO_ANOMALIES,
    "by_place": {**_PAPER, "score": "places"},
    "plain_auto_encoder": _PLAIN,
    "plain_by_place": {**_PLAIN, "score": "places"},
}
Sections = dict[str, dict[str, Any]]


def ablation_runs(config: dict[str, Any], dataset: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the runs of a data set's ablation.

    Args:
        config: The whole, checked config.
        dataset: A data set that is no variant.

    Returns:
        By name of the run, ``<dataset>.ablation.<variant>.<seed>``, the variant it belongs to and its entry under
        ``datasets``: ``shares`` there names other runs whose results it may use.
    """
    settings = dataset_section(config, dataset, "ablation")
    first_seed, *others = settings.seeds
    runs: dict[str, tuple[str, dict[str, Any]]] = {}
    seen: dict[str, str] = {}
    for variant, sections in _variants(config, dataset):
        entry = _entry(dataset, sections, settings.epochs, first_seed)
        # Two names of one and the same, as the paper's two teachers where these are the configured ones.
        same = all_settings({**config, "datasets": {**config["datasets"], variant: entry}}, variant, student=True)
        if seen.setdefault(same, variant) == variant:
            runs[f"{dataset}.ablation.{variant}.{first_seed}"] = (variant, entry)
    firsts = list(runs)
    for index, name in enumerate(firsts):
        variant, entry = runs[name]
        entry["shares"] = firsts[:index]
        for seed in others:
            changed = {**entry, "distillation": {**entry["distillation"], "seed": seed}}
            runs[f"{dataset}.ablation.{variant}.{seed}"] = (variant, {**changed, "shares": firsts[: index + 1]})
    return runs


def sdmae_ablation_runs(config: dict[str, Any], dataset: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the runs of SDMAE's ablation for a data set, as ``ablation_runs``; the first has the paper's form."""
    settings = dataset_section(config, dataset, "ablation")
    epochs = {"epochs": settings.epochs, "second_epochs": settings.epochs} if settings.epochs else {}
    runs: dict[str, tuple[str, dict[str, Any]]] = {}
    for variant, changes in SDMAE_VARIANTS.items():
        for seed in settings.seeds:
            entry = {"variant_of": dataset, "sdmae": {**epochs, **changes, "seed": seed}, "shares": list(runs)}
            runs[f"{dataset}.ablation.sdmae_{variant}.{seed}"] = (variant, entry)
    return runs


def judge_runs(config: dict[str, Any], dataset: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the runs of the judge: students, each for kinds of the split validation that it does not learn from.

    What is configured and each variant in ``ablation.judged`` has, for every seed, one student for each kind that the
    split synthetic has as well, which it does not learn from, and one, ``others``, for all kinds that it has not. They
    share targets, and all else that lies before the student.

    Args:
        config: The whole, checked config.
        dataset: A data set that is no variant.

    Returns:
        As ``ablation_runs``, of runs ``<dataset>.judge.<variant>.<kind or others>.<seed>``; in place of the variant
        stands ``<variant>.<kinds>``, the kinds that judge it joined by ``+``.
    """
    settings, made, validation = (
        dataset_section(config, dataset, name) for name in ("ablation", "synthetic", "validation")
    )
    known = judgeable(config, dataset)
    students = {kind: [kind] for kind in made.kinds if kind in validation.kinds}
    if others := [kind for kind in validation.kinds if kind not in made.kinds]:
        students["others"] = others
    runs: dict[str, tuple[str, dict[str, Any]]] = {}
    for variant in dict.fromkeys((configured_variant(config, dataset), *settings.judged)):
        for name, kinds in students.items():
            for seed in settings.seeds:
                entry = _entry(dataset, known[variant], settings.epochs, seed)
                entry["distillation"]["unseen_kinds"] = list(kinds)
                entry["shares"] = [*([variant] if variant in config["datasets"] else []), *runs]
                runs[f"{dataset}.judge.{variant}.{name}.{seed}"] = (f"{variant}.{'+'.join(kinds)}", entry)
    return runs


def judgeable(config: dict[str, Any], dataset: str) -> dict[str, Sections]:
    """Return what each variant changes that ``ablation.judged`` of a data set may name.

    All are judged by the same clips: other settings of the split validation do not count.
    """
    own = {name: entry for name, entry in config["datasets"].items() if entry.get("variant_of") == dataset}
    written = {
        name: {part: values for part, values in entry.items() if part in SECTIONS and part != "validation"}
        for name, entry in own.items()
    }
    return {**written, **dict(_variants(config, dataset))}


def configured_variant(config: dict[str, Any], dataset: str) -> str:
    """Return the variant that changes nothing but seeds and, where ``ablation.epochs`` is set, epochs."""
    own = dataset_section(config, dataset, "distillation")
    return ("adversarial" if own.adversarial_weight else "standard") + ("_pretrained" if own.pretrained else "")


def _variants(config: dict[str, Any], dataset: str) -> Iterator[tuple[str, Sections]]:
    """Yield the name of each variant and what it changes."""
    own, student = (dataset_section(config, dataset, name) for name in ("distillation", "student"))
    resolutions = sorted(dataset_section(config, dataset, "maps").resolutions)
    weight = own.adversarial_weight or DistillationConfig.adversarial_weight
    for kind, used in (("standard", 0.0), ("adversarial", weight)):
        for name, pretrained in (("", False), ("_pretrained", True)):
            yield kind + name, {"distillation": {"adversarial_weight": used, "pretrained": pretrained}}
    yield "both_teachers", {"distillation": {"teachers": list(PAPER_TEACHERS)}}
    for teacher in dict.fromkeys((*PAPER_TEACHERS, *own.teachers)):
        yield f"only_{teacher}", {"distillation": {"teachers": [teacher]}}
    for sides in (resolutions[:1], resolutions[:-1], resolutions[-1:]):
        if sides:
            yield f"maps_{'_'.join(map(str, sides))}", {"maps": {"resolutions": sides}}
    for count in FRAMES:
        if count != student.frames:
            # One frame alone has no flow.
            yield f"frames_{count}", {"student": {"frames": count, **({"flow": "none"} if count == 1 else {})}}


def _entry(dataset: str, sections: Sections, epochs: int, seed: int) -> dict[str, Any]:
    """Return a variant's entry under ``datasets``."""
    shortened = {"epochs": epochs} if epochs else {}
    distillation = {**sections.get("distillation", {}), **shortened, "seed": seed}
    pretraining = {**sections.get("pretraining", {}), **shortened}
    return {"variant_of": dataset, **sections, "distillation": distillation, "pretraining": pretraining}


# The networks that have an ablation, and the judge of students, with the function that gives its runs.
ABLATIONS = {"student": ablation_runs, "sdmae": sdmae_ablation_runs, "judge": judge_runs}
