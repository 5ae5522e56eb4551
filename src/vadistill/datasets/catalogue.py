"""The data sets of a config: the clips of their splits, what is held out, and the files of their results.

The workflow asks for all this while it is parsed, so that this module imports nothing but the standard library. A data
set is looked at when something of it is asked for, and then once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from vadistill.datasets.clips import Clip, LabelSource
from vadistill.datasets.lengths import check_single, short_clips
from vadistill.datasets.registry import demo_clips, read_clips
from vadistill.datasets.splits import SYNTHETIC, SyntheticClip, held_out_part, scene_of, shard_of, synthetic_clips
from vadistill.errors import InputError
from vadistill.settings import LEAST_FRAMES, TEACHERS
from vadistill.settings.ablation import ABLATIONS
from vadistill.settings.stages import all_settings, dataset_config, dataset_section, shared_from, stage_settings

# Where the files of each product lie in the folder of a data set.
FILES = {
    "frames": "frames/{split}/{clip}.h5",
    "boxes": "{split}/{clip}.npy",
    "detections": "detections/{split}/{shard}.h5",
    "moving": "moving/{split}/{shard}.h5",
    "motion": "motion/{split}/{shard}.h5",
    "object_flow": "object_flow/{split}/{shard}.h5",
    "model": "teachers/{teacher}/model.pt",
    "scores": "object_scores/{teacher}/{split}/{shard}.h5",
    "calibration": "teachers/{teacher}/calibration.json",
    "maps": "maps/{teacher}/{split}/{shard}.h5",
    "flow_by_row": "trivial/flow_by_row.json",
    "trivial": "trivial/{split}/{shard}.h5",
    "pretrained": "student/pretrained.pt",
    "trained": "{teacher}/trained.pt",
}


class Catalogue:
    """The data sets of a config, by name: ``catalogue["avenue"].clips("train")``.

    Attributes:
        config: The whole, checked config; the runs of ablations are data sets of their own.
        ablations: By network, and by data set that is no variant, the variant that each run of its ablation belongs to.
        warn: Takes a warning.
        check_names: Takes the name of a data set and those of its clips, and raises an error if they cannot be used.
    """

    def __init__(
        self,
        config: dict[str, Any],
        warn: Callable[[str], None] = print,
        check_names: Callable[[str, Iterable[str]], None] = lambda dataset, clips: None,
    ) -> None:
        self.warn, self.check_names = warn, check_names
        self.ablations: dict[str, dict[str, dict[str, str]]] = {network: {} for network in ABLATIONS}
        self.config = config = {**config, "datasets": dict(config["datasets"])}
        for name in [name for name, entry in config["datasets"].items() if "variant_of" not in entry]:
            made = {network: runs_of(config, name) for network, runs_of in ABLATIONS.items()}
            for network, runs in made.items():
                self.ablations[network][name] = {run: variant for run, (variant, _) in runs.items()}
                config["datasets"] |= {run: entry for run, (_, entry) in runs.items()}
        self._datasets: dict[str, Dataset] = {}

    def __getitem__(self, name: str) -> "Dataset":
        """Return a data set; that there is none of this name is said when something of it is asked for."""
        return self._datasets.setdefault(name, Dataset(self, name))

    def detector_weights(self) -> list[str]:
        """Return the detector weights that any data set names."""
        return sorted({self[name].section("detection").weights for name in self.config["datasets"]})

    def variant_groups(self, dataset: str, who: str) -> dict[str, str]:
        """Return for a data set and each of its variants the first one that differs from it in nothing but seeds.

        The runs of its ablation do not count, and of variants that do not differ at all only the first one does.

        Args:
            dataset: A data set that is no variant.
            who: ``student``; or ``teachers``, who do not depend on what makes the student.
        """
        entries = self.config["datasets"].items()
        variants = [name for name, own in entries if own.get("variant_of") == dataset]
        runs = {run for by_dataset in self.ablations.values() for run in by_dataset.get(dataset, ())}
        first: dict[str, str] = {}
        seen: set[str] = set()
        groups: dict[str, str] = {}
        for name in (dataset, *(name for name in variants if name not in runs)):
            everything = all_settings(self.config, name, who == "student")
            if everything not in seen:
                seen.add(everything)
                groups[name] = first.setdefault(all_settings(self.config, name, who == "student", seeds=False), name)
        return groups

    def ablation_groups(self, network: str, dataset: str) -> dict[str, str]:
        """Return the variant that each run of a network's ablation for a data set belongs to.

        Raises:
            InputError: The data set is a variant, or there is none of this name.
        """
        if dataset not in self.ablations[network]:
            raise InputError(f"{dataset}: is no data set with layout and path; its ablation is not defined")
        return self.ablations[network][dataset]


class Dataset:
    """One data set of a catalogue.

    All that looks at its clips raises an ``InputError`` if there is no data set of this name, or it is missing, partial
    or has names that cannot be used.

    Attributes:
        catalogue: Where it stands.
        name: Its name in the config, and that of its folder of results.
    """

    def __init__(self, catalogue: Catalogue, name: str) -> None:
        self.catalogue, self.name = catalogue, name

    @cached_property
    def entry(self) -> dict[str, Any]:
        """Its entry in the config; a variant's goes over that of the data set that it varies."""
        return dataset_config(self.catalogue.config, self.name)

    @cache  # noqa: B019 (a workflow has one catalogue)
    def section(self, name: str) -> Any:
        """Return a section of the config as it holds for this data set."""
        return dataset_section(self.catalogue.config, self.name, name)

    def settings(self, stage: str, of: str = "", **extra: Any) -> str:
        """Return the canonical JSON of the settings that a stage reads, with ``extra`` values."""
        return stage_settings(self.catalogue.config, self.name, stage, of, **extra)

    @property
    def generated(self) -> bool:
        """Whether the workflow makes its clips, so that they need not be there yet."""
        return self.entry["layout"] == "demo"

    @property
    def measures_depth(self) -> bool:
        """Whether the range of images of more than 8 bits is measured."""
        return self.section("frames").depth != "full" and not self.generated

    @property
    def folder(self) -> str:
        """The folder of its clips."""
        return f"results/{self._home('frames')}/clips" if self.generated else self.entry["path"]

    @cache  # noqa: B019
    def listed(self, split: str) -> dict[str, Clip]:
        """Return the clips of ``train`` or ``test`` that lie in the data set, by name."""
        made, folder = self.generated, self.folder
        found = demo_clips(folder, self.section("demo")) if made else read_clips(self.entry["layout"], folder)
        named = {clip.name: clip for clip in found if clip.split == split}
        self.catalogue.check_names(self.name, named)
        return named

    @cached_property
    def left_out(self) -> dict[str, int]:
        """The training clips that are too short to be used, with their numbers of frames; each is warned of, once.

        Generated ones are not counted.

        Raises:
            InputError: All clips are too short.
        """
        home = self._home("frames")
        if home != self.name:
            return self.catalogue[home].left_out
        if self.generated:
            return {}
        found = self.listed("train")
        short = short_clips(found.values(), lambda clip: self.path("frames", split="train", clip=clip))
        if len(short) == len(found):
            first = ", ".join(f"{clip}: {count}" for clip, count in list(short.items())[:5])
            raise InputError(
                f"{self.name}: no training clip has {LEAST_FRAMES} frames or more ({first}"
                f"{', ...' if len(short) > 5 else ''}); expected longer ones"
            )
        for clip, count in short.items():
            self.catalogue.warn(
                f"{self.name}: the training clip '{clip}' has {count} of the {LEAST_FRAMES} frames that are needed, and"
                " is left out"
            )
        return short

    @cached_property
    def held_out(self) -> dict[str, float]:
        """{held-out training clip: share of its frames at which the held-out part begins}.

        Raises:
            InputError: The scene of a clip does not follow from its name, or the only clip is too short.
        """
        pattern, share = self.section("objects").scene, self.section("held_out").share
        scenes = {clip: scene_of(clip, pattern) for clip in self.train}
        if share and len(scenes) == 1:
            (only,) = self.train.values()
            store = self.path("frames", split="train", clip=only.name)
            check_single(only, store, share, self.section("demo").frames if self.generated else None)
        return held_out_part(scenes, share)

    @property
    def calibrated_on(self) -> dict[str, float]:
        """The training clips that teachers are calibrated on, and the share of each clip at which its part begins."""
        held = self.held_out
        if self.section("calibration").clips == "all" or not held:
            return dict.fromkeys(self.train, 0.0)
        return held

    @cached_property
    def train(self) -> dict[str, Clip]:
        """The training clips that are used, by name."""
        return {name: clip for name, clip in self.listed("train").items() if name not in self.left_out}

    @cache  # noqa: B019
    def synthetic(self, split: str) -> dict[str, SyntheticClip]:
        """Return the clips of ``validation`` or ``synthetic``, by name.

        Raises:
            InputError: Nothing is held out for them.
        """
        wanted = self.section(split)
        made = synthetic_clips(split, self.train, self.held_out, wanted.kinds, wanted.clips)
        if not made:
            raise InputError(f"{self.name}: held_out.share is 0, so that there are no clips for the split validation")
        return made

    def clips(self, split: str) -> Mapping[str, Clip | SyntheticClip]:
        """Return the clips of a split that are used, by name."""
        if split in SYNTHETIC:
            return self.synthetic(split)
        return self.train if split == "train" else self.listed(split)

    def clip(self, split: str, name: str) -> Clip | SyntheticClip:
        """Return a clip, also one that is left out.

        Raises:
            InputError: The split has none of this name.
        """
        known: Mapping[str, Clip | SyntheticClip] = self.listed(split) if split == "train" else self.clips(split)
        if name not in known:
            raise InputError(f"{self.name}: no {split} clip '{name}'")
        return known[name]

    @property
    def label_sources(self) -> list[LabelSource]:
        """Where the labels of the test clips lie that have some."""
        return [clip.labels for clip in self.listed("test").values() if clip.labels]

    @property
    def labelled(self) -> bool:
        """Whether any test clip has labels."""
        return any(source.frames or source.masks for source in self.label_sources)

    @property
    def tracks(self) -> list[str]:
        """The published tracks of abnormal regions, where the config names some.

        Raises:
            InputError: Their folder has none.
        """
        folder = self.section("localisation").tracks
        found = sorted(str(path) for path in Path(folder).glob("*.txt")) if folder else []
        if folder and not found:
            raise InputError(f"{folder}: no .txt files; localisation.tracks is expected to be a folder of <clip>.txt")
        return found

    @property
    def located(self) -> bool:
        """Whether anything says where the anomalies of the test clips are."""
        sources = self.label_sources
        return bool(self.tracks) or any(source.masks for source in sources)

    @cache  # noqa: B019
    def shards(self, split: str) -> dict[str, int]:
        """Return the shard of every clip of a split that is used."""
        count = self.entry.get("shards", self.catalogue.config.get("shards", 16))
        return {clip: shard_of(clip, count) for clip in self.clips(split)}

    def files(
        self, product: str, split: str = "", teachers: Iterable[str] = ("",), clips: Sequence[str] = (), shard: str = ""
    ) -> list[str]:
        """Return the files of a product: of each teacher as many as the split has clips or shards, or one.

        Args:
            product: Key of ``FILES``.
            split: Where the product has one.
            teachers: Where the product has them.
            clips: Files of these clips alone, or of the shards that hold them.
            shard: Files of this shard alone, or of the clips in it.

        Raises:
            InputError: The split has none of these clips.
        """
        for clip in clips:
            self.clip(split, clip)
        parts: list[dict[str, Any]] = [{}]
        if "{clip}" in FILES[product]:
            parts = [{"clip": clip} for clip in clips or self._in_shard(split, shard)]
        elif "{shard}" in FILES[product]:
            parts = [{"shard": number} for number in ([shard] if shard else self._holding(split, clips))]
        return [self.path(product, split=split, teacher=teacher, **part) for teacher in teachers for part in parts]

    def processes(self, name: str) -> int:
        """Return how many processes share the batches of the training that a section is of: ``gpus``, each with one.

        Raises:
            InputError: A batch cannot be divided evenly.
        """
        gpus, batch = self.catalogue.config.get("gpus", 1), getattr(self.section(name), "batch", None)
        if batch is None:  # it learns in one go
            return 1
        if batch % gpus:
            raise InputError(f"{self.name}: {name}.batch is {batch}; expected a multiple of gpus, {gpus}")
        return gpus

    def keeps_flow(self, teacher: str) -> bool:
        """Return whether a teacher reads the kept flow of objects: it is kept, and cut as the teacher wants it.

        Raises:
            InputError: It is kept for fewer than two teachers, which saves nothing.
        """
        kept = self.section("object_flow")
        if not kept.kept:
            return False
        readers = [name for name in TEACHERS if self.section(name).flow == kept.cut]
        if len(readers) < 2:
            raise InputError(
                f"{self.name}: object_flow.kept is true, and {' and '.join(readers) or 'no teacher'} alone cuts flow "
                f"as object_flow says (crop {kept.crop}, step {kept.step}, border {kept.border}); expected the same "
                "crop, step and border in background_agnostic and flow_neighbours, or kept: false"
            )
        return teacher in readers

    @property
    def learned(self) -> list[str]:
        """The frames that the student learns from: of the training clips, and of the synthetic ones that it may see."""
        seen = self._seen("synthetic") if self.section("distillation").synthetic else []
        return self.files("frames", "train") + (self.files("frames", "synthetic", clips=seen) if seen else [])

    @property
    def selecting(self) -> list[str]:
        """The validation clips by which the student of an epoch is kept, where it is: of kinds that it may see.

        Raises:
            InputError: It may see none.
        """
        if seen := self._seen("validation"):
            return seen
        raise InputError(
            f"{self.name}: distillation.unseen_kinds leaves no validation clip to select by; set "
            "distillation.selection to last"
        )

    def _seen(self, split: str) -> list[str]:
        unseen = self.section("distillation").unseen_kinds
        return [name for name, clip in self.synthetic(split).items() if clip.kind not in unseen]

    def _in_shard(self, split: str, shard: str) -> list[str]:
        return [clip for clip, number in self.shards(split).items() if not shard or number == int(shard)]

    def _holding(self, split: str, clips: Sequence[str]) -> list[int]:
        shards = self.shards(split)
        return sorted({shards[clip] for clip in clips or shards})

    def path(self, product: str, split: str = "", teacher: str = "", **parts: Any) -> str:
        """Return one file of a product; a variant's lies in the folder of another data set where it shares it."""
        # What has no split is the same for all: other synthetic clips train no other teacher.
        home = self._home(product, split if "{split}" in FILES[product] else "", teacher)
        return f"results/{home}/{FILES[product].format(split=split, teacher=teacher, **parts)}"

    @cache  # noqa: B019
    def _home(self, product: str, split: str = "", teacher: str = "") -> str:
        # Boxes are written with the frames of their clips.
        return shared_from(
            self.catalogue.config, self.name, "frames" if product == "boxes" else product, split, teacher
        )
