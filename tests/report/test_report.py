import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.auc_json import Result
from vadistill.evaluation.localisation_json import DetectorRegions, LocalisationResult
from vadistill.evaluation.protocols import PROTOCOLS, difference, frame_auc_of_protocols, in_short, record
from vadistill.io.files import write_json
from vadistill.report import summary
from vadistill.report.contents import Material, page
from vadistill.report.page import picture, write_page
from vadistill.report.run_files import read_metrics, read_timings

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
NAMES = ("student", "background_agnostic", "multi_task", "teachers_mean")
CLIPS = ("01_<b>", "a $x$ b", "c", "d", "e", "normal")


def material(labelled=True):
    rng = np.random.default_rng(0)
    labels = {clip: (np.arange(60) // 20 == 1).astype(int) for clip in CLIPS}
    labels["normal"][:] = 0
    scores = {name: {clip: rng.random(60) + 0.3 * labels[clip] for clip in CLIPS} for name in NAMES}
    made = {name: frame_auc_of_protocols(by_clip, labels, 2.0) for name, by_clip in scores.items()}
    result = Result(
        **{"dataset": "tiny <i>", "clips": 3, "frames": 180, "labels": "pixel masks (.npy)"},
        **{"protocol": record("vadistill", 2.0), "protocols": {name: record(name, 2.0) for name in PROTOCOLS}},
        **{"settings": {"student": {"width": 64}}, "provenance": {"seeds": {"student": 0}}},
        **{"student": made["student"], "teachers_mean": made["teachers_mean"]},
        student_minus_teachers_mean=difference(scores["student"], scores["teachers_mean"], labels, 2.0),
        teachers={name: made[name] for name in ("background_agnostic", "multi_task")},
        trivial={"count": in_short(scores["student"], labels, 2.0)},
        **{"repaired_frames": {"c": [3, 4]}, "left_out_clips": {"short": 6}, "warnings": ["a dead map"]},
    )
    located = LocalisationResult(
        **{"truth": "masks", "tracks": 2, "regions": 40, "clips": 2, "frames": 120},
        **{"alpha": 0.1, "beta": 0.1, "map_threshold": 0.5, "settings": {}},
        frames_whose_label_and_mask_differ={},
        detectors={name: DetectorRegions(rbdc=0.25, tbdc=0.5) for name in NAMES}
        | {"student": DetectorRegions(rbdc=0.123, tbdc=0.2, pixel_auc=0.9)},
    )
    _, content = cv2.imencode(".jpg", rng.integers(0, 256, (90, 160, 3), dtype=np.uint8))
    shown = [picture(content.tobytes(), ".jpg", "a frame", "hit: 01_<b>, frame 3, score 0.70")]
    training = {"distilled": [{"epoch": n, "phase": "distillation", "train_loss": 1 / (n + 1)} for n in range(3)]}
    timings = pd.DataFrame({"rule": ["train_teacher"], "jobs": [2], "seconds": [12.5], "memory_mb": [np.nan]})
    if not labelled:
        return Material(replace(result, note="no AUC"), None, scores, None, shown, training, timings)
    return Material(result, located, scores, labels, shown, training, timings)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    made = material()
    write_page(path, page(made))
    return path, made


def test_the_page_holds_the_numbers_of_the_result(written):
    path, made = written
    text, student = path.read_text(), made.result.student
    low, high = (f"{100 * value:.1f}" for value in student.micro_interval)
    for told in (
        f"<b>{100 * student.micro_auc:.1f}</b>",
        f"95 % interval {low} to {high}",
        f'<td class="number">{100 * student.average_precision:.1f}</td>',
        f"{100 * student.protocols['fast_aed'].micro_auc:.1f} /",
        "12.3 / 20.0",
        "1 clips have one class only and are left out of macro AUC: normal.",
        "Warning: a dead map.",
        "c: 2 images could not be decoded",
        "The training clip short has 6 of the",
        '<td class="number">12.5</td>',
        "&#34;width&#34;: 64",
    ):
        assert told in text, told


def test_a_summary_of_nothing_ends_in_one_line(tmp_path):
    command = [sys.executable, "-m", "vadistill.report.summary", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert str(tmp_path / "auc.json") in done.stderr


def test_the_summary_of_a_result_that_was_read(written, tmp_path, capsys):
    result = written[1].result
    write_json(tmp_path / "auc.json", replace(result, note="no AUC").content())
    summary.main(tmp_path)
    text = capsys.readouterr().out
    assert f"student{'':21} {100 * result.student.micro_auc:.1f}" in text and "trivial: count" in text
    assert "c: repaired frames [3, 4]" in text and "\nno AUC\n" in text and "Ellipsis" not in text


def test_names_are_text_and_nothing_comes_from_the_network(written):
    text = written[0].read_text()
    assert "tiny &lt;i&gt;" in text and "01_&lt;b&gt;" in text and "<i>" not in text and "<b>," not in text
    assert "http" not in text.replace("http://www.w3.org", "") and "<script" not in text


def test_a_data_set_without_labels_has_curves_but_no_numbers(tmp_path):
    write_page(tmp_path / "r.html", page(material(labelled=False)))
    text = (tmp_path / "r.html").read_text()
    assert "no AUC" in text and 'id="curves"' in text and 'id="moments"' in text
    assert 'id="numbers"' not in text and 'id="localisation"' not in text and "Protocol" not in text


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=f"no browser: {', '.join(BROWSERS)} are not installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_on_a_phone_and_a_screen(written, width):
    api = pytest.importorskip("playwright.sync_api")
    told, asked = [], []
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": width, "height": 900}, java_script_enabled=True)
        shown.set_default_timeout(120_000)  # milliseconds: a busy machine is no failure
        shown.on("console", lambda message: told.append(message.text))
        shown.on("pageerror", lambda error: told.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url.partition(":")[0]))
        shown.goto(written[0].as_uri())
        figures = shown.locator("figure img")
        sizes = figures.evaluate_all("found => found.map(image => [image.naturalWidth, image.clientWidth])")
        wide = shown.evaluate("document.documentElement.scrollWidth")
        headings = shown.locator("h2").all_inner_texts()
        browser.close()
    # ROC, clip by clip, a moment, six clips' curves, one training.
    assert len(sizes) == 10 and all(natural > 0 and shown > 0 for natural, shown in sizes)
    assert wide <= width, "nothing reaches beyond the screen"
    assert told == [] and set(asked) <= {"file", "data"}
    assert headings[:2] == ["Accuracy", "Localisation"] and len(headings) == 6


def test_timings_join_the_jobs_of_a_rule(tmp_path):
    head = "s\th:m:s\tmax_rss\tmax_vms\n"
    (tmp_path / "score_objects" / "test").mkdir(parents=True)
    for shard, row in enumerate(("10.5\t0:00:10\t800\t9", "2.5\t0:00:02\t-\t9")):
        (tmp_path / "score_objects" / "test" / f"{shard}.tsv").write_text(head + row + "\n")
    (tmp_path / "evaluate.tsv").write_text(head + "20\t0:00:20\t100\t9\n")
    (tmp_path / "draw_overlay.tsv").write_text("")  # not written yet
    table = read_timings(tmp_path)
    assert table.to_dict("records") == [
        {"rule": "evaluate", "jobs": 1, "seconds": 20.0, "memory_mb": 100.0},
        {"rule": "score_objects", "jobs": 2, "seconds": 13.0, "memory_mb": 800.0},
    ]
    assert len(read_timings(tmp_path / "none")) == 0
    (tmp_path / "bad.tsv").write_text("nothing\n")
    with pytest.raises(InputError, match=r"bad\.tsv: not a benchmark"):
        read_timings(tmp_path)


def test_metrics_of_a_training(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"epoch": 0}\n{"epoch": 1}\n')
    assert read_metrics(tmp_path / "m.jsonl") == [{"epoch": 0}, {"epoch": 1}]
    assert read_metrics(tmp_path / "none.jsonl") == []
    (tmp_path / "m.jsonl").write_text('{"epoch": 0}\n{"epo')
    with pytest.raises(InputError, match=r"m\.jsonl: not one JSON object a line"):
        read_metrics(tmp_path / "m.jsonl")
