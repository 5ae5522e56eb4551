"""Alarms and states by MQTT, against mosquitto."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from live_sources import free_port, has_mosquitto, listens, until
from paho.mqtt.enums import CallbackAPIVersion
from test_watch_sinks import END, PAGE, START

from vadistill.watch.alarm import CameraState, CameraStatus
from vadistill.watch.config import Mqtt
from vadistill.watch.sinks.base import SinkThread
from vadistill.watch.sinks.mqtt import MqttSink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_mosquitto(), reason="no MQTT broker: apt-get install mosquitto"),
]
BROKER = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


@contextmanager
def broker(folder, port=None, users=False):
    port = port or free_port()
    lines = [f"listener {port} 127.0.0.1", f"allow_anonymous {'false' if users else 'true'}", "persistence false"]
    if users:
        lines += [f"password_file {folder}/users", "user root"]  # who may read the folder
        subprocess.run(["mosquitto_passwd", "-b", "-c", f"{folder}/users", "watch", "right"], check=True)
        os.chmod(folder / "users", 0o644)
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([BROKER, "-c", folder / "mosquitto.conf"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port))
        yield port
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


def sink_of(port, cameras=("yard", "gate"), **more):
    thread = SinkThread(MqttSink(Mqtt(kind="mqtt", host="127.0.0.1", port=port, **more), list(cameras)))
    thread.start()
    return thread


def test_alarms_states_and_discovery(tmp_path):
    with broker(tmp_path) as port:
        listener, thread = Listener(port), sink_of(port)
        until(lambda: listener.got.get("vadistill/available") == "online")
        thread.put(START)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "ON")
        assert json.loads(listener.got["vadistill/events"]) == START.record()
        thread.put(END)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "OFF")
        statuses = [CameraStatus(name, "", state=CameraState.LIVE, score=0.25) for name in ("yard", "gate")]
        thread.status(statuses)
        until(lambda: listener.got.get("vadistill/gate/state") == "live")
        until(lambda: listener.got.get("vadistill/gate/score") == "0.25")
        found = {topic: json.loads(text) for topic, text in listener.got.items() if topic.startswith("homeassistant/")}
        assert len(found) == 6
        alarm = found["homeassistant/binary_sensor/vadistill_yard/alarm/config"]
        assert alarm["state_topic"] == "vadistill/yard/alarm" and alarm["availability_topic"] == "vadistill/available"
        assert len({one["unique_id"] for one in found.values()}) == 6
        assert {one["device"]["identifiers"][0] for one in found.values()} == {"vadistill_yard", "vadistill_gate"}
        thread.status(statuses[:1])  # gate has left the file
        until(lambda: listener.got["homeassistant/sensor/vadistill_gate/score/config"] == "")
        thread.stop()
        until(lambda: listener.got["vadistill/available"] == "offline")
        listener.close()
        late = Listener(port)
        until(lambda: late.got.get("vadistill/yard/alarm") == "OFF")  # retained
        late.close()
    for topic in listener.got:
        plain = topic.replace("yard", "<camera>").replace("gate", "<camera>")
        if topic.startswith("vadistill/"):
            assert f"`{plain}`" in PAGE
    assert thread.lost == 0


def test_a_broker_that_was_away_gets_what_waited(tmp_path):
    port = free_port()
    thread = sink_of(port)
    thread.put(START)
    with broker(tmp_path, port):
        listener = Listener(port)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "ON")
        listener.close()
    with broker(tmp_path, port):
        listener = Listener(port)
        until(lambda: listener.got.get("vadistill/available") == "online")
        thread.put(END)
        until(lambda: listener.got.get("vadistill/yard/alarm") == "OFF")
        listener.close()
    thread.stop()


def test_the_last_will_speaks_for_a_watch_that_was_killed(tmp_path):
    code = (
        "import sys, time\nfrom vadistill.watch.config import Mqtt\nfrom vadistill.watch.sinks.mqtt import MqttSink\n"
        "sink = MqttSink(Mqtt(kind='mqtt', host='127.0.0.1', port=int(sys.argv[1])), ['yard'])\ntime.sleep(60)"
    )
    with broker(tmp_path) as port:
        listener = Listener(port)
        process = subprocess.Popen([sys.executable, "-c", code, str(port)])
        until(lambda: listener.got.get("vadistill/available") == "online")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        until(lambda: listener.got.get("vadistill/available") == "offline")
        listener.close()


def test_a_wrong_password_is_one_line_without_it(tmp_path, caplog):
    with broker(tmp_path, users=True) as port:
        thread = sink_of(port, username="watch", password="wrong-secret")
        until(lambda: "refused" in caplog.text)
        assert "expected another username or password" in caplog.text and "wrong-secret" not in caplog.text
        thread.stop()
        good = sink_of(port, username="watch", password="right")
        good.put(START)
        until(lambda: good.sent == 1)
        good.stop()
