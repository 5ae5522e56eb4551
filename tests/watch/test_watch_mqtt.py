"""Alarms and states by MQTT, against mosquitto."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import jinja2
import paho.mqtt.client as paho
import pytest
from live_sources import free_port, has_mosquitto, listens, until
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import ValidationError
from test_watch_sinks import END, PAGE, START, UPDATE

from vadistill.errors import InputError
from vadistill.watch.alarm import CameraState, CameraStatus
from vadistill.watch.config import Mqtt
from vadistill.watch.sinks import base, mqtt
from vadistill.watch.sinks.base import SinkThread, stop_sinks
from vadistill.watch.sinks.mqtt import MqttSink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_mosquitto(), reason="no MQTT broker: apt-get install mosquitto"),
]
BROKER = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


@contextmanager
def broker(folder, port=None, users=False):
    """Run mosquitto; give its port and its process. What it logs lies in mosquitto.log."""
    port = port or free_port()
    lines = [f"listener {port} 127.0.0.1", f"allow_anonymous {'false' if users else 'true'}", "persistence false"]
    if users:
        lines += [f"password_file {folder}/users", "user root"]  # who may read the folder
        subprocess.run(["mosquitto_passwd", "-b", "-c", f"{folder}/users", "watch", "right"], check=True)
        os.chmod(folder / "users", 0o644)
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    with (folder / "mosquitto.log").open("w") as noted:
        process = subprocess.Popen([BROKER, "-c", folder / "mosquitto.conf"], stderr=noted)
    try:
        until(lambda: listens(port))
        yield port, process
    finally:
        process.kill()
        process.wait(10)


class Listener:
    """Hears everything; ``got`` has the topics' last texts, ``all`` every message."""

    def __init__(self, port):
        self.got, self.all = {}, []
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self.hear
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def hear(self, _, __, message):
        self.got[message.topic] = message.payload.decode()
        self.all.append((message.topic, message.payload.decode(), message.retain))

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def sink_of():
    """Starts sinks, and stops them."""
    threads = []

    def start(port, cameras=("yard", "gate"), storage=None, **more):
        sink = MqttSink(Mqtt(kind="mqtt", host="127.0.0.1", port=port, **more), list(cameras), storage)
        threads.append(SinkThread(sink))
        threads[-1].start()
        return threads[-1]

    yield start
    stop_sinks(threads)


@contextmanager
def listening(port):
    listener = Listener(port)
    try:
        yield listener
    finally:
        listener.close()


def live(*names):
    return [CameraStatus(name, "", state=CameraState.LIVE, score=0.25) for name in names]


def test_alarms_states_and_discovery(tmp_path, sink_of):
    with broker(tmp_path) as (port, _), listening(port) as listener:
        thread = sink_of(port)
        until(lambda: listener.got.get("vadistill/available") == "online")
        until(lambda: listener.got.get("vadistill/gate/alarm") == "OFF")  # before there was any alarm
        thread.put(START)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "ON")
        assert json.loads(listener.got["vadistill/events"]) == START.record()
        thread.put(END)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "OFF")
        thread.status(live("yard", "gate"))
        until(lambda: listener.got.get("vadistill/gate/state") == "live")
        until(lambda: listener.got.get("vadistill/yard/score") == "0.25")
        told = {topic for topic in listener.got if topic.startswith("vadistill/")}
        assert {f"`{re.sub('yard|gate', '<camera>', topic)}`" for topic in told} == set(
            re.findall(r"`vadistill/[a-z<>/]+`", PAGE)
        )
        thread.stop()
        until(lambda: listener.got["vadistill/available"] == "offline")
        with listening(port) as late:  # what is retained
            until(lambda: len(late.got) == 1 + 2 * (3 + 3))
            assert "vadistill/events" not in late.got
    assert (thread.sent, thread.lost, thread.failed) == (2, 0, 0)


def test_discovery_is_what_home_assistant_and_the_document_say(tmp_path, sink_of):
    with broker(tmp_path) as (port, _), listening(port) as listener:
        sink_of(port)
        until(lambda: sum(topic.startswith("homeassistant/") for topic in listener.got) == 6)
        found = {topic: json.loads(text) for topic, text in listener.got.items() if topic.startswith("homeassistant/")}
        sink_of(port, ["yard"], prefix="home/cellar", discovery="ha/x")
        until(lambda: sum(topic.startswith("ha/x/") for topic in listener.got) == 3)
        other = [json.loads(text) for topic, text in listener.got.items() if topic.startswith("ha/x/")]
    on_page = json.loads(re.search(r"```json\n(\{\"name.*?)\n```", PAGE, re.S)[1])
    assert found["homeassistant/binary_sensor/vadistill_yard/state/config"] == on_page
    assert {f"`{topic.replace('yard', '<camera>')}`" for topic in found if "yard" in topic} == set(
        re.findall(r"`homeassistant/[a-z_<>/]+<camera>[a-z_/]+`", PAGE)
    )
    for topic, content in found.items():
        # <discovery_prefix>/<component>/[<node_id>/]<object_id>/config, of these characters
        assert re.fullmatch(r"homeassistant/(binary_sensor|sensor)/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)
        assert content["availability_topic"] == "vadistill/available" and content["device"]["identifiers"]
        assert content["state_topic"] in listener.got or content["state_topic"].endswith(("score", "state"))
    ids = [one["unique_id"] for one in [*found.values(), *other]]
    assert len(ids) == len(set(ids)) == 9, "Home Assistant takes no id twice"
    template = jinja2.Environment().from_string(on_page["value_template"])
    assert {str(state): template.render(value=str(state)) for state in CameraState} == {
        "starting": "OFF", "live": "ON", "dead": "OFF", "ended": "OFF",
    }  # fmt: skip


def test_a_camera_that_leaves_is_forgotten(tmp_path, sink_of):
    with broker(tmp_path) as (port, _):
        thread = sink_of(port)
        with listening(port) as listener:
            thread.status(live("yard", "gate"))
            until(lambda: listener.got.get("vadistill/gate/score") == "0.25" or thread.status(live("yard", "gate")))
            thread.status(live("yard", "door"))
            until(lambda: listener.got.get("vadistill/door/state") == "live")
        with listening(port) as late:
            until(lambda: len(late.got) == 1 + 2 * (3 + 3))
            assert not [topic for topic in late.got if "gate" in topic]
            thread.put(replace(START, camera="door"))
            until(lambda: late.got.get("vadistill/door/alarm") == "ON")
            thread.status(live("yard"))
            until(lambda: late.got.get("vadistill/door/alarm") == "")
            thread.status(live("yard", "door"))
            until(lambda: late.got.get("vadistill/door/alarm") == "OFF")  # when it comes back


def test_a_camera_that_left_while_nobody_watched_is_forgotten(tmp_path, sink_of):
    with broker(tmp_path) as (port, _):
        thread = sink_of(port, storage=tmp_path)
        with listening(port) as listener:
            until(lambda: sum(topic.startswith("homeassistant/") for topic in listener.got) == 6)
        thread.stop()
        sink_of(port, ["yard"], tmp_path)
        with listening(port) as late:
            until(lambda: late.got.get("vadistill/available") == "online")
        with listening(port) as late:
            until(lambda: len(late.got) == 1 + 1 + 3)
            assert not [topic for topic in late.got if "gate" in topic]


def test_a_broker_that_was_away_gets_what_waited(tmp_path, sink_of, caplog):
    port = free_port()
    thread = sink_of(port)
    thread.put(START)
    until(lambda: "not reached" in caplog.text)
    with broker(tmp_path, port), listening(port) as listener:
        until(lambda: listener.got.get("vadistill/yard/alarm") == "ON")
        until(lambda: thread.sent == 1)
        thread.status(live("yard", "gate"))
        until(lambda: listener.got.get("vadistill/gate/state") == "live")
    until(lambda: "lost (" in caplog.text)
    thread.put(UPDATE)
    with broker(tmp_path, port), listening(port) as listener:  # one that has forgotten everything
        until(lambda: listener.got.get("vadistill/available") == "online")
        until(lambda: listener.got.get("vadistill/yard/alarm") == "ON")
        until(lambda: "homeassistant/sensor/vadistill_gate/score/config" in listener.got)
        thread.status(live("yard", "gate"))  # as before
        until(lambda: listener.got.get("vadistill/gate/state") == "live")
        until(lambda: thread.sent == 2)  # the update, which waited
        thread.put(END)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "OFF")
        assert json.loads(listener.got["vadistill/events"]) == END.record()
        until(lambda: thread.sent == 3)
    assert thread.lost == 0
    assert sum("not reached (Connection refused)" in line for line in caplog.messages) <= 2, "once each time"


def test_a_broker_that_hangs_gets_it_later(tmp_path, sink_of, monkeypatch):
    monkeypatch.setattr(mqtt, "TAKEN", 0.3)
    monkeypatch.setattr(mqtt, "AGAIN", 0.1)
    with broker(tmp_path) as (port, process), listening(port) as listener:
        thread = sink_of(port)
        until(lambda: "vadistill/gate/alarm" in listener.got)
        process.send_signal(signal.SIGSTOP)
        thread.put(START)
        until(lambda: thread.failed >= 2)
        process.send_signal(signal.SIGCONT)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "ON")
        until(lambda: thread.sent == 1)


def test_a_broker_that_hangs_does_not_keep_the_watch_from_ending(tmp_path, sink_of):
    with broker(tmp_path) as (port, process), listening(port) as listener:
        thread = sink_of(port)
        until(lambda: "vadistill/gate/alarm" in listener.got)
        process.send_signal(signal.SIGSTOP)
        thread.put(START)
        begun = time.monotonic()
        thread.stop()
        assert time.monotonic() - begun < base.LAST_SECONDS + 5
        process.send_signal(signal.SIGCONT)


def test_a_broker_that_answers_at_once_finds_the_sink_ready(tmp_path, sink_of, monkeypatch):
    begin = paho.Client.loop_start

    def begin_and_wait(client):
        begin(client)
        until(client.is_connected)
        time.sleep(0.2)  # for what the other thread does then

    with broker(tmp_path) as (port, _), listening(port) as listener:
        monkeypatch.setattr(paho.Client, "loop_start", begin_and_wait)
        thread = sink_of(port)
        thread.put(START)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "ON")


def test_the_last_will_speaks_for_a_watch_that_was_killed(tmp_path):
    code = (
        "import sys, time\nfrom vadistill.watch.config import Mqtt\nfrom vadistill.watch.sinks.mqtt import MqttSink\n"
        "sink = MqttSink(Mqtt(kind='mqtt', host='127.0.0.1', port=int(sys.argv[1])), ['yard'])\ntime.sleep(60)"
    )
    with broker(tmp_path) as (port, _), listening(port) as listener:
        process = subprocess.Popen([sys.executable, "-c", code, str(port)])
        until(lambda: listener.got.get("vadistill/available") == "online")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        until(lambda: listener.got.get("vadistill/available") == "offline")


def test_a_wrong_password_is_one_line_without_it(tmp_path, caplog, sink_of):
    caplog.set_level(logging.DEBUG)
    with broker(tmp_path, users=True) as (port, _):
        sink_of(port, username="watch", password="wrong-secret")
        until(lambda: (tmp_path / "mosquitto.log").read_text().count("not authorised") >= 3)  # it tries again
        own = [line for line in caplog.messages if line.startswith(f"mqtt 127.0.0.1:{port}: ")]
        assert own == [f"mqtt 127.0.0.1:{port}: refused (Not authorized); expected another username or password"]
        good = sink_of(port, username="watch", password="right")
        good.put(START)
        until(lambda: good.sent == 1)
        assert not [word for word in ("wrong-secret", "right") if word in caplog.text]


def test_what_is_no_broker_s_name_is_one_line():
    with pytest.raises(InputError, match=r"mqtt: host 'a\.\.b' is no name"):
        MqttSink(Mqtt(kind="mqtt", host="a..b"), ["yard"])
    for more in ({"host": ""}, {"host": "b", "discovery": "a/#"}, {"host": "b", "prefix": "/"}):
        with pytest.raises(ValidationError):
            Mqtt(kind="mqtt", **more)
