"""What a split has, what is held out and where results lie: what the rules of the workflow ask."""

import copy

import pytest
from trees import pictures, write_avi

from vadistill.datasets.catalogue import Catalogue
from vadistill.errors import InputError

CONFIG = {
    "shards": 4,
    "datasets": {
        "demo": {"layout": "demo", "demo": {"train_clips": 5, "test_clips": 2}},
        "seeded": {"variant_of": "demo", "multi_task": {"seed": 1}},
        "student": {"variant_of": "demo", "student": {"depth": 2}},
        "twin": {"variant_of": "demo", "multi_task": {"seed": 1}},
    },
}
TRAIN = [f"train_{number:02d}" for number in range(1, 6)]


def catalogue(**sections):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["demo"] |= sections
    return Catalogue(config)


def cameras(folder, train, test=("one",)):
    """A catalogue of one data set of videos with so many frames, what it warns of and whose names it has checked."""
    for split, clips in (("train", train), ("test", dict.fromkeys(test, 20))):
        (folder / split).mkdir(parents=True)
        for name, count in clips.items():
            write_avi(folder / split / f"{name}.avi", pictures(1) * count)
    warned, checked = [], []
    entry = {"layout": "folder", "path": str(folder)}
    config = {"datasets": {"cameras": entry, "varied": {"variant_of": "cameras", "maps": {"resolutions": [2]}}}}
    return Catalogue(config, warned.append, lambda dataset, clips: checked.extend(clips)), warned, checked


def test_nothing_is_looked_at_before_it_is_asked_for(tmp_path):
    data = Catalogue({"datasets": {"far": {"layout": "avenue", "path": str(tmp_path / "none")}}})["far"]
    assert data.files("model", teachers=["multi_task"]) == ["results/far/teachers/multi_task/model.pt"]
    assert data.files("detections", "train", shard="3") == ["results/far/detections/train/3.h5"]
    with pytest.raises(InputError, match="missing; expected the folder of a data set in layout 'avenue'"):
        data.files("frames", "train")
    with pytest.raises(InputError, match="no data set 'nowhere' under datasets; it has far"):
        Catalogue(data.catalogue.config)["nowhere"].clips("train")


def test_files_of_clips():
    data = catalogue()["demo"]
    assert data.files("frames", "train") == [f"results/demo/frames/train/{name}.h5" for name in TRAIN]
    assert data.files("frames", "test", clips=["test_02"]) == ["results/demo/frames/test/test_02.h5"]
    with pytest.raises(InputError, match="demo: no test clip 'train_01'"):
        data.files("scores", "test", clips=["train_01"])


def test_a_shard_has_the_frames_of_its_clips():
    data = catalogue()["demo"]
    parts = [data.files("frames", "train", shard=str(number)) for number in range(4)]
    assert sorted(path for part in parts for path in part) == data.files("frames", "train")
    for name, number in data.shards("train").items():
        assert f"results/demo/frames/train/{name}.h5" in parts[number]
        assert data.files("maps", "train", clips=[name]) == [f"results/demo/maps//train/{number}.h5"]


def test_batches_are_shared_by_as_many_processes_as_divide_them():
    assert catalogue()["demo"].processes("distillation") == 1
    four, five = (Catalogue({**CONFIG, "gpus": gpus})["demo"] for gpus in (4, 5))
    assert four.processes("multi_task") == 4
    assert four.processes("flow_neighbours") == 1, "learns without batches"
    with pytest.raises(InputError, match=r"demo: distillation\.batch is 48; expected a multiple of gpus, 5"):
        five.processes("distillation")


def test_files_of_teachers_come_teacher_by_teacher_and_shards_in_order():
    data = catalogue()["demo"]
    numbers = sorted(set(data.shards("train").values()))
    expected = [f"results/demo/maps/{name}/train/{number}.h5" for name in ("b", "a") for number in numbers]
    assert len(numbers) > 1 and data.files("maps", "train", ["b", "a"]) == expected


def test_the_number_of_shards_is_the_data_sets_own_or_that_of_all():
    assert max(catalogue()["demo"].shards("train").values()) < 4
    assert set(catalogue(shards=1)["demo"].shards("train").values()) == {0}


def test_a_variant_shares_the_files_that_it_does_not_change():
    known = catalogue()
    assert known["seeded"].files("frames", "test") == known["demo"].files("frames", "test")
    assert known["seeded"].files("model", teachers=["multi_task", "flow_neighbours"]) == [
        "results/seeded/teachers/multi_task/model.pt",
        "results/demo/teachers/flow_neighbours/model.pt",
    ]
    assert known["student"].files("pretrained") == ["results/student/student/pretrained.pt"]


@pytest.mark.parametrize("changed", ["validation", "synthetic"])
def test_other_synthetic_clips_train_no_other_teacher(changed):
    known = catalogue()
    known.config["datasets"]["other"] = {"variant_of": "demo", changed: {"seed": 9}}
    for split in ("train", "synthetic", "validation", "test"):
        for product in ("model", "calibration"):
            (path,) = known["other"].files(product, split, ["multi_task"])
            assert path.startswith("results/demo/")
        home = "other" if split == changed else "demo"
        assert known["other"].files("scores", split, ["multi_task"])[0].startswith(f"results/{home}/")


def test_the_student_neither_learns_from_unseen_kinds_nor_is_selected_by_them():
    learned = {"kinds": ["pasted", "misplaced", "fast", "backward"]}
    unseen = catalogue(distillation={"unseen_kinds": ["fast", "pasted"]}, validation=learned)["demo"]
    kinds = [path.split(".")[-2] for path in unseen.learned if "/synthetic/" in path]
    assert sorted(set(kinds)) == ["backward", "misplaced"] and len(kinds) == 8
    assert unseen.learned[:5] == unseen.files("frames", "train")
    assert {name.rpartition(".")[2] for name in unseen.selecting} == {"backward", "misplaced"}
    own = catalogue()["demo"]
    assert own.learned == own.files("frames", "train") + own.files("frames", "synthetic")
    every = catalogue(distillation={"unseen_kinds": learned["kinds"]}, validation=learned)["demo"]
    assert every.learned == catalogue(distillation={"synthetic": False})["demo"].learned == own.files("frames", "train")
    with pytest.raises(InputError, match=r"demo: distillation\.unseen_kinds leaves no validation clip"):
        _ = every.selecting


def test_kinds_that_no_student_learns_from_are_judged_by_one_student_a_seed():
    known = catalogue(validation={"kinds": ["fast", "driving"]}, synthetic={"kinds": ["pasted"]})
    groups = known.ablation_groups("judge", "demo")
    assert {name.split(".")[3] for name in groups} == {"others"} and len(groups) == 3
    assert {group.rpartition(".")[2] for group in groups.values()} == {"fast+driving"}


def test_boxes_lie_with_who_makes_the_frames_of_their_clips():
    known = catalogue()
    known.config["datasets"]["other"] = {"variant_of": "demo", "validation": {"seed": 9}}
    for product in ("frames", "boxes"):
        for split, home in (("validation", "other"), ("synthetic", "demo")):
            assert all(path.startswith(f"results/{home}/") for path in known["other"].files(product, split))
    assert known["demo"].files("boxes", "validation")[0].startswith("results/demo/validation/train_")


def test_synthetic_clips_are_made_of_what_is_held_out_and_of_the_rest():
    data = catalogue(held_out={"share": 0.4}, validation={"kinds": ["fast", "pasted"]}, synthetic={"clips": 2})["demo"]
    validation, synthetic = (
        {clip.source: clip.part for clip in data.clips(split).values()} for split in ("validation", "synthetic")
    )
    assert validation == dict.fromkeys(data.held_out, (0.0, 1.0)) and len(validation) == 2
    assert len(synthetic) == 2 and not synthetic.keys() & validation.keys()
    assert list(data.clips("validation"))[:2] == [f"{next(iter(validation))}.{kind}" for kind in ("fast", "pasted")]
    assert data.clip("validation", f"{next(iter(validation))}.fast").kind == "fast"


def test_of_a_single_clip_the_end_is_validation_and_the_start_is_not():
    data = catalogue(demo={"train_clips": 1, "frames": 200}, held_out={"share": 0.25})["demo"]
    assert {clip.part for clip in data.clips("validation").values()} == {(0.75, 1.0)}
    assert {clip.part for clip in data.clips("synthetic").values()} == {(0.0, 0.75)}
    with pytest.raises(InputError, match="expected at least 48 frames, so that these are 12"):
        _ = catalogue(demo={"train_clips": 1, "frames": 47}, held_out={"share": 0.25})["demo"].held_out


def test_without_held_out_clips_there_is_no_split_validation():
    data = catalogue(held_out={"share": 0})["demo"]
    assert data.held_out == {} and list(data.calibrated_on) == TRAIN and data.clips("synthetic")
    with pytest.raises(InputError, match=r"demo: held_out\.share is 0"):
        data.clips("validation")


def test_teachers_are_calibrated_on_held_out_clips_or_on_all():
    assert catalogue()["demo"].calibrated_on == catalogue()["demo"].held_out != {}
    assert catalogue(calibration={"clips": "all"})["demo"].calibrated_on == dict.fromkeys(TRAIN, 0.0)


def test_a_scene_that_does_not_follow_from_a_name_is_said():
    with pytest.raises(InputError, match=r"clip train_01: its name does not match objects\.scene 'x\(\.\)'"):
        _ = catalogue(objects={"scene": "x(.)"})["demo"].held_out


def test_short_training_clips_are_left_out_and_named_once(tmp_path):
    known, warned, checked = cameras(tmp_path / "cameras", {"a": 20, "b": 5, "c": 20}, ["t", "u"])
    for name in ("cameras", "varied", "cameras"):
        assert list(known[name].clips("train")) == ["a", "c"] and known[name].left_out == {"b": 5}
    assert warned == [
        "cameras: the training clip 'b' has 5 of the 12 frames that are needed, and is left out",
    ]
    assert known["cameras"].clip("train", "b").name == "b", "its frames may be asked for all the same"
    assert "t" not in checked, "the test clips have not been asked for"
    assert list(known["cameras"].clips("test")) == ["t", "u"] and {"a", "b", "c", "t", "u"} <= set(checked)


def test_training_clips_that_are_all_short_are_an_error(tmp_path):
    known, warned, _ = cameras(tmp_path / "cameras", dict.fromkeys("abcdef", 3))
    told = r"cameras: no training clip has 12 frames or more \(a: 3, b: 3, c: 3, d: 3, e: 3, \.\.\.\); expected longer"
    with pytest.raises(InputError, match=told):
        known["cameras"].clips("train")
    assert not warned


def test_variants_that_differ_in_seeds_are_one_group():
    known = catalogue()
    assert known.variant_groups("demo", "teachers") == {"demo": "demo", "seeded": "demo"}
    assert known.variant_groups("demo", "student") == {"demo": "demo", "seeded": "demo", "student": "student"}
    assert all(known.ablations[network]["demo"] for network in ("student", "sdmae")), "their runs are variants, too"


def test_an_ablation_is_of_a_data_set_that_is_no_variant():
    known = catalogue()
    groups = known.ablation_groups("student", "demo")
    assert groups["demo.ablation.only_multi_task.0"] == "only_multi_task"
    assert known["demo.ablation.only_multi_task.0"].section("distillation").teachers == ("multi_task",)
    assert known.ablation_groups("sdmae", "demo")["demo.ablation.sdmae_no_classifier.1"] == "no_classifier"
    for name in ("seeded", "nowhere"):
        with pytest.raises(InputError, match=f"{name}: is no data set with layout and path; its ablation"):
            known.ablation_groups("student", name)


def test_the_weights_of_all_data_sets():
    known = Catalogue({"datasets": {**CONFIG["datasets"], "own": {"layout": "demo", "detection": {"weights": "a.pt"}}}})
    assert known.detector_weights() == ["a.pt", "yolov8n.pt"]


def test_the_config_that_is_given_stays_as_it_is():
    config = copy.deepcopy(CONFIG)
    Catalogue(config)
    assert config == CONFIG


def test_detectors_that_differ_in_their_score_share_one_training():
    sections = {"score": {"score": "places"}, "maps": {}, "seed": {"seed": 1, "gap_weight": 0.0}}
    own = {name: {"variant_of": "demo", "sdmae": section} for name, section in sections.items()}
    own["maps"]["maps"] = {"resolutions": [2]}
    own["scene"] = {"variant_of": "demo", "objects": {"scene": "(.)"}}
    known = Catalogue({"datasets": {**CONFIG["datasets"], **own}})
    homes = {name: known[name].files("trained", teachers=["sdmae"]) for name in ("demo", *own)}
    shared = {name: "demo" if name in ("demo", "score", "maps") else name for name in homes}
    assert homes == {name: [f"results/{home}/sdmae/trained.pt"] for name, home in shared.items()}
    runs = known.ablations["sdmae"]["demo"]
    assert len(runs) == 24 and len({known[run].path("trained", teacher="sdmae") for run in runs}) == 15


def test_flow_is_kept_for_two_teachers_or_not_at_all():
    alike = {"object_flow": {"kept": True}, "background_agnostic": {"crop": 32}, "flow_neighbours": {"crop": 32}}
    names = ("background_agnostic", "multi_task", "flow_neighbours")
    assert [name for name in names if catalogue(**alike)["demo"].keeps_flow(name)] == [names[0], names[2]]
    assert not any(catalogue()["demo"].keeps_flow(name) for name in names)
    lonely = catalogue(**{**alike, "background_agnostic": {"crop": 64}})["demo"]
    with pytest.raises(InputError, match=r"demo: object_flow\.kept is true, and flow_neighbours alone .*kept: false"):
        lonely.keeps_flow("multi_task")
