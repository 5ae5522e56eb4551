"""What makes Home Assistant show a camera as a device (https://www.home-assistant.io/integrations/mqtt/)."""

from typing import Any

from vadistill import __version__
from vadistill.watch.alarm import CameraState
from vadistill.watch.config import Mqtt

ENTITIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("binary_sensor", "alarm", {"name": "Alarm", "device_class": "motion"}),
    ("sensor", "score", {"name": "Score", "state_class": "measurement"}),
    (
        "binary_sensor",
        "state",
        {
            "name": "Camera",
            "device_class": "connectivity",
            # Two payloads cannot stand for four states.
            "value_template": f"{{{{ 'ON' if value == '{CameraState.LIVE}' else 'OFF' }}}}",
        },
    ),
)


def entities(config: Mqtt, camera: str) -> dict[str, dict[str, Any]]:
    """Return what is published, retained, for a camera's entities, by topic; nothing without ``discovery``.

    Ids begin with the prefix of the topics, so that two watches on one broker do not share them.
    """
    if config.discovery is None:
        return {}
    device = f"{config.prefix.replace('/', '_')}_{camera}"
    shared = {
        "availability_topic": f"{config.prefix}/available",
        "qos": 1,
        "device": {
            "identifiers": [device],
            "name": f"vadistill {camera}",
            "manufacturer": "vadistill",
            "model": "video anomaly detector",
            "sw_version": __version__,
        },
        "origin": {"name": "vadistill", "sw_version": __version__},
    }
    return {
        f"{config.discovery}/{component}/{device}/{kind}/config": {
            **content,
            "unique_id": f"{device}_{kind}",
            "state_topic": f"{config.prefix}/{camera}/{kind}",
            **shared,
        }
        for component, kind, content in ENTITIES
    }
