"""The whole watch, with a real detector and real streams."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import yaml
from live_sources import free_port, http_server, motion_jpeg, until
from test_watch_sinks import START

from vadistill.datasets.demo.video import write_clip
from vadistill.errors import InputError
from vadistill.settings import DemoConfig
from vadistill.watch.alarm import CameraState, Phase
from vadistill.watch.app import Watch
from vadistill.watch.command import check_file, fit
from vadistill.watch.store import Store

pytestmark = pytest.mark.slow  # real servers and processes

SETTINGS = DemoConfig(seed=7, frames=60)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "clip.avi"
    write_clip(SETTINGS, "test", "test_04", path)  # a cart from the first frame on
    return path


def write(path, cameras, **more):
    usual = {"storage": {"path": str(path.parent / "kept")}, "web": {"port": 0}, "backend": "onnx-fp32"}
    content = {"cameras": cameras, **usual, **more}
    part = path.with_suffix(".part")
    part.write_text(yaml.safe_dump(content))
    part.rename(path)
    return path


def camera(film, **more):
    return {"source": {"kind": "file", "path": str(film), "loop": True}, "threshold": 0.3, **more}


@pytest.fixture
def watched(tmp_path):
    """Starts watches, and stops them."""
    running = []

    def start(cameras, **more):
        watch, over = Watch(write(tmp_path / "cameras.yaml", cameras, **more)), threading.Event()
        watch.start()
        thread = threading.Thread(target=watch.run, args=(over,))
        thread.start()
        running.append((watch, over, thread))
        return watch

    yield start
    for watch, over, thread in running:
        over.set()
        thread.join()
        begun = time.monotonic()
        watch.stop()
        assert time.monotonic() - begun < 20


def named(watch, name):
    return next(status for status in watch.cameras() if status.name == name)


def test_a_film_raises_an_alarm_that_is_kept_with_picture_and_clip(watched, film, tmp_path):
    cameras = {"yard": {**camera(film, pre_roll=1, post_roll=1), "source": {"kind": "file", "path": str(film)}}}
    lines = tmp_path / "alarms.jsonl"
    watch = watched(cameras, sinks=[{"kind": "json_lines", "path": str(lines)}])
    listener = watch.subscribe()
    (status,) = watch.cameras()
    until(lambda: status.state == CameraState.ENDED)
    assert status.frames_in == 60 and status.frames_analysed >= 15 and 0 <= status.latency < 30
    time_of_picture, picture = watch.picture("yard")
    assert picture[:3] == b"\xff\xd8\xff" and time.time() - time_of_picture < 60
    assert listener.get(timeout=20)[0] in ("camera", "alarm", "cameras")
    assert b"vadistill_frames_in_total" in watch.metrics() and watch.healthy()[0]
    until(lambda: all(one["phase"] == "end" for one in watch.alarms("yard", None, None, 10)))  # the film is over
    (alarm,) = watch.alarms("yard", None, None, 10)
    assert alarm["phase"] == "end" and alarm["score"] > 0.3 and alarm["end"] >= alarm["start"]
    until(lambda: watch.file(alarm["clip"]).is_file())
    assert watch.file(alarm["snapshot"]).read_bytes()[:3] == b"\xff\xd8\xff"
    times, scores = watch.scores("yard", 0, time.time())
    assert len(times) == status.frames_analysed and np.all(np.diff(times) > 0) and scores.max() <= alarm["score"] + 1e-6
    assert watch.would_alarm("yard", 1e6, 0) == 0 and watch.would_alarm("yard", 0.3, 0) >= 1
    until(lambda: len(lines.read_text().splitlines()) >= 2)
    phases = [json.loads(line)["phase"] for line in lines.read_text().splitlines()]
    assert phases[0] == "start" and phases[-1] == "end"


def test_an_alarm_that_was_cut_off_gets_its_end(watched, film, tmp_path):
    store, lines = Store(tmp_path / "kept"), tmp_path / "alarms.jsonl"
    store.save(replace(START, id="cut-off"))
    store.close()
    watched({"yard": camera(film, threshold=1e6)}, sinks=[{"kind": "json_lines", "path": str(lines)}])
    until(lambda: lines.read_text())
    (told,) = [json.loads(line) for line in lines.read_text().splitlines()]
    assert (told["id"], told["phase"], told["end"]) == ("cut-off", "end", START.peak)


def test_alarms_are_sent_on_while_they_cannot_be_kept(watched, film, tmp_path, caplog, monkeypatch):
    class Full(Store):
        """Its database cannot grow, as on a full disk."""

        def __init__(self, folder):
            super().__init__(folder)
            (pages,) = self._database.execute("pragma page_count").fetchone()
            self._database.execute(f"pragma max_page_count = {pages}")
            small = replace(START, camera="filler", zone="", start=time.time(), phase=Phase.END, snapshot="", clip="")
            for number in range(1000):  # no room is left in the pages that it has
                self.save(replace(small, id=str(number)))
                if self._late:
                    break
            self._late.clear()
            self._failing = False

    monkeypatch.setattr("vadistill.watch.app.Store", Full)
    monkeypatch.setattr("vadistill.watch.app.PRUNE_EVERY", 0.1)
    cameras = {"yard": {**camera(film), "source": {"kind": "file", "path": str(film)}}}
    lines = tmp_path / "alarms.jsonl"
    watch = watched(cameras, sinks=[{"kind": "json_lines", "path": str(lines)}])
    (status,) = watch.cameras()
    until(lambda: status.state == CameraState.ENDED)
    until(lambda: [json.loads(line)["phase"] for line in lines.read_text().splitlines()][-1:] == ["end"])
    assert watch.alarms("yard", None, None, 10) == [] and caplog.text.count("cannot be written") == 2, "once by filling"
    watch.store._database.execute("pragma max_page_count = 100000")
    watch.store.flush()
    (alarm,) = watch.alarms("yard", None, None, 10)
    assert alarm["phase"] == "end" and len(watch.scores("yard", 0, time.time())[0]) > 5


def test_cameras_come_and_go_with_the_file_and_the_others_go_on(watched, film, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    watch = watched({"yard": camera(film), "gate": camera(film)})
    until(lambda: all(status.frames_analysed > 3 for status in watch.cameras()))
    yard = named(watch, "yard")
    write(tmp_path / "cameras.yaml", {"yard": camera(film), "door": camera(film, rate=2)})
    until(lambda: {status.name for status in watch.cameras()} == {"yard", "door"})
    assert named(watch, "yard") is yard, "undisturbed"
    before = yard.frames_in
    until(lambda: yard.frames_in > before and named(watch, "door").frames_analysed > 0)
    write(tmp_path / "cameras.yaml", {"yard": camera(film, rate=-1)})
    until(lambda: "cameras.yard.rate" in caplog.text)
    assert "the cameras stay as they were" in caplog.text and len(watch.cameras()) == 2
    write(tmp_path / "cameras.yaml", {"yard": camera(film, threshold=0.9), "door": camera(film, rate=2)})
    until(lambda: {status.name: status.threshold for status in watch.cameras()} == {"yard": 0.9, "door": 0.3})


def test_a_threshold_of_the_page_is_kept(watched, film, tmp_path):
    watch = watched({"yard": camera(film)})
    watch.set_threshold("yard", 0.75)
    assert watch.cameras()[0].threshold == 0.75
    kept = json.loads((tmp_path / "kept/thresholds.json").read_text())
    assert kept["yard"][0] == 0.75 and kept["yard"][1] <= 0.75
    watch.set_threshold("yard", None)
    assert watch.cameras()[0].threshold == 0.3 and json.loads((tmp_path / "kept/thresholds.json").read_text()) == {}


def test_a_zone_that_is_masked_is_refused_and_a_quiet_camera_raises_nothing(watched, tmp_path):
    black = [np.zeros((90, 160, 3), np.uint8)]
    with http_server(motion_jpeg(black, rate=15)) as port:
        everywhere = [[0, 0], [1, 0], [1, 1], [0, 1]]
        corner = [[0, 0], [0.6, 0], [0.6, 0.6], [0, 0.6]]
        zone = {"polygon": [[0, 0], [0.5, 0], [0.5, 0.5]]}
        source = {"kind": "http", "url": f"http://127.0.0.1:{port}/"}
        with pytest.raises(InputError, match="zone door: masks cover it"):
            watched(
                {"yard": {"source": source, "masks": [corner], "zones": {"door": zone}}},
                storage={"path": str(tmp_path / "refused")},
            )
        with pytest.raises(InputError, match="camera yard: masks cover the whole picture"):
            watched(
                {"yard": {"source": source, "masks": [everywhere]}}, storage={"path": str(tmp_path / "refused_too")}
            )
        watch = watched({"gate": {"source": source, "threshold": 5.0}})
        until(lambda: watch.cameras()[0].frames_analysed > 5)
        assert watch.alarms(None, None, None, 10) == []


def test_an_alarm_ends_where_its_camera_dies(watched, film, monkeypatch):
    from vadistill.io.media.video import frames_of
    from vadistill.watch import reader

    monkeypatch.setattr(reader, "SILENT", 1.0)
    pictures = list(frames_of(film))
    with http_server(motion_jpeg(pictures, rate=12, silent_from=40)) as port:
        source = {"kind": "http", "url": f"http://127.0.0.1:{port}/"}
        watch = watched({"yard": {"source": source, "threshold": 0.3, "pre_roll": 1}})
        until(lambda: watch.alarms(None, None, None, 10))
        until(lambda: watch.cameras()[0].state == CameraState.DEAD)
        until(lambda: watch.alarms(None, None, None, 10)[-1]["phase"] == "end")
        clip = watch.alarms(None, None, None, 10)[-1]["clip"]
        until(lambda: watch.file(clip).is_file())


def test_the_command_ends_at_a_signal_with_everything_kept(film, tmp_path):
    port = free_port()
    path = write(tmp_path / "cameras.yaml", {"yard": camera(film)}, web={"port": port})
    process = subprocess.Popen(
        [sys.executable, "-m", "vadistill", "watch", str(path)], stderr=subprocess.PIPE, text=True
    )

    def state():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/cameras", timeout=5) as answer:
                return json.loads(answer.read())[0]
        except OSError:
            return {"alarms": 0}

    until(lambda: process.poll() is not None or state()["alarms"])
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    from vadistill.watch.store import Store

    store = Store(tmp_path / "kept")
    alarms = store.alarms()
    assert alarms and all(one["phase"] == "end" for one in alarms)
    assert store.path_of(alarms[0]["clip"]).is_file()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cameras": {}}, "cameras: Dictionary should have at least 1 item"),
        ({"cameras": {"a b": {"source": {"kind": "file", "path": "x"}}}}, r"cameras\.a b"),
        ({"cameras": {"../x": {"source": {"kind": "file", "path": "x"}}}}, r"cameras\.\.\./x"),
        ({"cameras": {"yard": {"source": {"kind": "tape", "path": "x"}}}}, r"cameras\.yard\.source: Input tag 'tape'"),
        (
            {"cameras": {"yard": {"source": {"kind": "rtsp", "url": "http://x"}}}},
            r"source\.rtsp\.url: expected an address",
        ),
        ({"cameras": {"yard": {"source": {"kind": "file", "path": "x"}, "rat": 5}}}, r"yard\.rat: Extra inputs"),
        ({"wep": {}}, "wep: Extra inputs are not permitted"),
        ({"web": {"address": "0.0.0.0"}}, "web: token: address 0.0.0.0 is no loopback"),
        (
            {"web": {"token": "${NO_SUCH_VARIABLE}"}},
            r"web\.token: the environment variable NO_SUCH_VARIABLE is not set",
        ),
        ({"sinks": [{"kind": "mqtt"}]}, r"sinks\.0\.mqtt\.host: Field required"),
    ],
)
def test_a_bad_key_is_named(change, told, tmp_path, monkeypatch):
    good = {"cameras": {"yard": {"source": {"kind": "rtsp", "url": "rtsp://u:${SECRET}@10.0.0.1/x"}}}}
    monkeypatch.setenv("SECRET", "hidden")
    path = tmp_path / "cameras.yaml"
    path.write_text(yaml.safe_dump(good))
    check_file(path)
    path.write_text(yaml.safe_dump({**good, **change}))
    with pytest.raises(InputError, match=told) as error:
        check_file(path)
    assert "hidden" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "a: [", "\x00", "- 1"])
def test_what_is_no_file_of_cameras_is_one_line(content, tmp_path):
    (tmp_path / "cameras.yaml").write_text(content)
    with pytest.raises(InputError, match=r"cameras\.yaml: "):
        check_file(tmp_path / "cameras.yaml")
    with pytest.raises(InputError, match="missing; expected a file of cameras"):
        check_file(tmp_path / "none.yaml")


def test_any_file_is_refused_or_taken(tmp_path):
    """A fuzz of the file: values of other types and sizes end in one line."""
    rng = np.random.default_rng(0)
    values = [
        None,
        True,
        -1,
        1e300,
        float("nan"),
        "",
        "x" * 10_000,
        [],
        {},
        [[0, 0]],
        {"kind": "file"},
        "${",
        "${X}",
        "é\n",
    ]
    keys = [
        "cameras",
        "model",
        "web",
        "sinks",
        "storage",
        "backend",
        "batch",
        "yard",
        "source",
        "kind",
        "path",
        "zones",
        "rate",
    ]

    def any_value(depth):
        if depth == 0 or rng.random() < 0.4:
            return values[rng.integers(len(values))]
        return {keys[rng.integers(len(keys))]: any_value(depth - 1) for _ in range(rng.integers(1, 4))}

    for _ in range(300):
        (tmp_path / "cameras.yaml").write_text(yaml.safe_dump(any_value(4)))
        try:
            check_file(tmp_path / "cameras.yaml")
        except InputError as error:
            assert "\n" not in str(error)


def test_a_storage_is_of_one_watch(watched, film, tmp_path):
    watch = watched({"yard": camera(film)})
    with pytest.raises(InputError, match=r"kept: a watch uses it; stop that one, or give another `storage\.path`"):
        Watch(watch.path)
    assert watch.alarms(None, None, None, 10) is not None, "the first one goes on"


def test_cameras_are_in_the_order_of_the_file_and_share_views_as_it_says(watched, film):
    """Whatever was there before: a start with the same file would give the same."""
    watch = watched({"b": camera(film)})
    assert watch._running["b"].alone, "it has its detector's usual view"
    write(watch.path, {"a": camera(film), "b": camera(film), "c": camera(film, rate=2)})
    until(lambda: [status.name for status in watch.cameras()] == ["a", "b", "c"])
    assert not watch._running["b"].alone
    write(watch.path, {"a": camera(film, rate=3), "b": camera(film)})
    until(lambda: watch.cameras()[0].name == "a" and len(watch.cameras()) == 2)
    assert [status.name for status in watch.cameras()] == ["a", "b"]
    frames = watch.cameras()[1].frames_analysed
    assert frames > 0
    until(lambda: watch.cameras()[1].frames_analysed > frames)


@pytest.mark.parametrize("line", ["since: 2026-99-99", "a: [[[", "model: " + "x" * 5000, "storage: {gigabytes: .inf}"])
def test_no_file_ends_a_watch(watched, film, caplog, line):
    watch = watched({"yard": camera(film)})
    watch.path.write_text(watch.path.read_text() + "\n" + line)
    until(lambda: "the cameras stay as they were" in caplog.text)
    frames = watch.cameras()[0].frames_analysed
    until(lambda: watch.cameras()[0].frames_analysed > frames)


def test_thresholds_are_not_fitted_beside_a_watch(watched, film):
    watch = watched({"yard": camera(film)})
    with pytest.raises(InputError, match="a watch uses it; stop that one"):
        fit(watch.path)


def test_alarms_of_another_threshold_are_counted_as_they_would_have_come(watched, film):
    """An outage parts them, and none comes outside the schedule."""
    watch, now = watched({"yard": camera(film)}), time.time()
    for begin in (now - 20_000, now - 5000):
        times = begin + np.arange(500) / 5
        watch.store.add_scores("yard", times, np.full(500, 5.0))
    assert watch.would_alarm("yard", 4.0, now - 86400) == 2
    hour = f"{datetime.fromtimestamp(now - 20_000):%H:%M}"
    later = f"{datetime.fromtimestamp(now - 20_000 + 300):%H:%M}"
    write(watch.path, {"yard": camera(film, schedule=[{"from": hour, "to": later}])})
    until(lambda: watch._running["yard"].config.schedule)
    assert watch.would_alarm("yard", 4.0, now - 80_000) == 1


def test_a_detector_that_fails_is_not_healthy(watched, film, monkeypatch, caplog):
    from vadistill.watch import analyser

    monkeypatch.setattr(analyser, "STUCK", 0.5)
    watch = watched({"yard": camera(film)})
    until(lambda: watch.cameras()[0].frames_analysed > 3)
    assert watch.healthy()[0]

    def fails(_):
        raise RuntimeError("out of memory")

    watch._running["yard"].camera._look.analyser.model = fails
    until(lambda: not watch.healthy()[0])
    assert watch.healthy()[1].startswith("nothing is analysed by starter")
    time.sleep(2.5)
    assert caplog.text.count("analysis fails (out of memory)") == 1, "told once a minute"
