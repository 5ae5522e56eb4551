"""``cameras.yaml``: what ``vadistill watch`` watches, and what becomes of its alarms.

Typed by pydantic; ``docs/watch-reference.yaml`` shows every key. ``${NAME}`` in a text is replaced by the environment
variable of that name, so that no secret stands in the file.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import checked_path

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"  # of cameras and zones: they become names of files and topics
TOPIC = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"  # what MQTT topics begin with
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
Share = Annotated[float, Field(ge=0, le=1)]
Polygon = Annotated[list[tuple[Share, Share]], Field(min_length=3)]
Verify = bool | Path
VERIFY = Field(False, description="whose certificate is taken. false: any one, since cameras sign theirs themselves; "
               "true: what the system trusts; or a PEM file of what is trusted")  # fmt: skip
Name = Annotated[str, Field(pattern=NAME)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Section(BaseModel):
    """A part of the file; unknown keys are refused."""

    # Inputs hold secrets.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class Rtsp(Section):
    """An RTSP camera."""

    kind: Literal["rtsp"]
    url: SecretStr = Field(description="rtsp:// or rtsps://, with credentials where it wants some")
    transport: Literal["tcp", "udp"] = Field("tcp", description="how frames travel")
    verify: Verify = VERIFY

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: SecretStr) -> SecretStr:
        return _of_scheme(url, ("rtsp", "rtsps"))


class Http(Section):
    """Motion JPEG or HLS over HTTP."""

    kind: Literal["http"]
    url: SecretStr = Field(description="http:// or https://, a Motion JPEG stream or an .m3u8 playlist")
    verify: Verify = VERIFY

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: SecretStr) -> SecretStr:
        return _of_scheme(url, ("http", "https"))


class File(Section):
    """A video file, played as a camera."""

    kind: Literal["file"]
    path: Path = Field(description="of the video")
    real_time: bool = Field(True, description="frames come at their own times; or as fast as possible")
    loop: bool = Field(False, description="begins anew at its end")


class Device(Section):
    """A V4L2 device of this machine."""

    kind: Literal["device"]
    path: Path = Field(description="such as /dev/video0")


class Stdin(Section):
    """A stream on the standard input; one camera at most."""

    kind: Literal["stdin"]
    format: str = Field("mpegts", description="FFmpeg's name of its container")


Source = Annotated[Rtsp | Http | File | Device | Stdin, Field(discriminator="kind")]


class Zone(Section):
    """A part of the picture with a threshold of its own."""

    polygon: Polygon = Field(description="corners x, y as shares of width and height")
    threshold: float | None = Field(None, description="smoothed score; null: the camera's")


class Schedule(Section):
    """When alarms are raised, in local time; several of them add up."""

    days: list[Day] = Field(list(DAYS), min_length=1, description="of the week")
    start: str = Field("00:00", alias="from", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="first minute")
    end: str = Field("24:00", alias="to", pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", description="last minute; "
                     "before `from`: of the next day")  # fmt: skip


class CameraConfig(Section):
    """One camera."""

    source: Source = Field(description="where its frames come from")
    model: Path | None = Field(None, description="packed detector of this camera; null: the file's")
    rate: float = Field(5.0, gt=0, le=30, description="frames analysed a second")
    false_alarms_per_day: float | None = Field(None, gt=0, description="which threshold of the model; null: its first")
    threshold: float | None = Field(None, description="smoothed score, in place of the model's")
    masks: list[Polygon] = Field([], description="parts of the picture that never count")
    zones: dict[Name, Zone] = Field({}, description="only these raise alarms; none: the whole picture")
    schedule: list[Schedule] = Field([], description="when alarms are raised; empty: always")
    pre_roll: float = Field(5.0, ge=0, le=60, description="seconds of a clip before the alarm")
    post_roll: float = Field(5.0, ge=0, le=60, description="seconds of a clip after the alarm")
    longest_clip: float = Field(120.0, gt=0, le=3600, description="seconds after which a clip ends, the alarm or not")

    @model_validator(mode="after")
    def _one_threshold(self) -> "CameraConfig":
        if self.threshold is not None and self.false_alarms_per_day is not None:
            raise ValueError("threshold and false_alarms_per_day: expected one of them")
        return self


class StorageConfig(Section):
    """Where alarms, snapshots and clips are kept."""

    path: Path = Field(Path("watch"), description="a folder")
    days: float = Field(14.0, gt=0, description="older alarms are removed")
    gigabytes: float = Field(
        20.0, gt=0, description="above this size the oldest clips, snapshots and scores are removed"
    )


class WebConfig(Section):
    """The page, the events and /metrics."""

    address: str = Field("127.0.0.1", description="another one than the loopback needs a token")
    port: int = Field(8765, ge=0, le=65535, description="0: any free one")
    token: SecretStr | None = Field(None, description="at least 16 characters; asked for on every page")

    @model_validator(mode="after")
    def _token(self) -> "WebConfig":
        local = self.address in ("127.0.0.1", "::1", "localhost")
        if not local and self.token is None:
            raise ValueError(f"token: address {self.address} is no loopback; expected a token, and TLS before it")
        if self.token is not None and len(self.token.get_secret_value()) < 16:
            raise ValueError("token: expected at least 16 characters")
        return self


class JsonLines(Section):
    """Alarms as lines of a file."""

    kind: Literal["json_lines"]
    path: Path | None = Field(None, description="null: the standard output")


class Webhook(Section):
    """Alarms by HTTP POST, tried again until they are taken."""

    kind: Literal["webhook"]
    url: SecretStr = Field(description="http:// or https://")
    secret: SecretStr | None = Field(None, description="key of the signature, HMAC-SHA256 of time and body")
    tries: int = Field(8, ge=1, le=100, description="with growing pauses between them")

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: SecretStr) -> SecretStr:
        return _of_scheme(url, ("http", "https"))


class Mqtt(Section):
    """Alarms by MQTT, with Home Assistant's discovery."""

    kind: Literal["mqtt"]
    host: str = Field(min_length=1, description="of the broker")
    port: int = Field(1883, ge=1, le=65535, description="of the broker")
    username: str | None = Field(None, description="where the broker wants one")
    password: SecretStr | None = Field(None, description="where the broker wants one")
    tls: bool = Field(False, description="encrypted")
    prefix: Annotated[str, Field(pattern=TOPIC)] = Field("vadistill", description="of all topics")
    discovery: Annotated[str, Field(pattern=TOPIC)] | None = Field(
        "homeassistant", description="Home Assistant's prefix; null: no discovery"
    )


class Frigate(Section):
    """Alarms as events of Frigate."""

    kind: Literal["frigate"]
    url: SecretStr = Field(description="of Frigate, such as http://frigate:5000")
    cameras: dict[Name, str] = Field({}, description="names of cameras in Frigate; those that are missing: their own")
    label: str = Field("unusual", description="of its events")

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: SecretStr) -> SecretStr:
        return _of_scheme(url, ("http", "https"))


Sink = Annotated[JsonLines | Webhook | Mqtt | Frigate, Field(discriminator="kind")]


class WatchConfig(Section):
    """The whole file."""

    model: Path = Field(Path("starter"), description="packed detector of all cameras without one of their own")
    backend: str | None = Field(None, description="that runs it; null: what the folder and this machine do best")
    batch: int = Field(8, ge=1, le=256, description="frames analysed at once, of all cameras that share a model")
    cameras: dict[Name, CameraConfig] = Field(min_length=1, description="by name")
    storage: StorageConfig = Field(StorageConfig(), description="where alarms are kept")
    web: WebConfig = Field(WebConfig(), description="the page")
    sinks: list[Sink] = Field([], description="where alarms are sent")

    @model_validator(mode="after")
    def _one_stdin(self) -> "WatchConfig":
        if sum(camera.source.kind == "stdin" for camera in self.cameras.values()) > 1:
            raise ValueError("cameras: two of them read the standard input; expected one")
        return self

    def model_of(self, camera: str) -> Path:
        """Return the packed detector of a camera."""
        return self.cameras[camera].model or self.model


def read_config(path: str | Path) -> WatchConfig:
    """Read a file of cameras.

    Raises:
        InputError: It is missing, no YAML, has a key that is unknown, missing or bad, or names a variable that is not
            set; the line names the key.
    """
    path = checked_path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; expected a file of cameras (docs/watch.md)") from None
    # Dates that are none, numbers of thousands of digits, brackets within brackets: YAML's own errors are not all.
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a YAML file ({in_one_line(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys such as cameras; found {type(content).__name__}")
    try:
        content = _with_variables(content, path, ())
    except RecursionError:
        raise InputError(f"{path}: a part of it holds itself; expected a plain file") from None
    try:
        return WatchConfig.model_validate(content)
    except ValidationError as error:
        first, count = error.errors(include_url=False, include_input=False)[0], error.error_count()
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        more = f" (and {count - 1} more)" if count > 1 else ""
        told = " ".join(first["msg"].removeprefix("Value error, ").split())
        raise InputError(f"{path}: {place}: {told}{more}") from None


def masked(url: str) -> str:
    """Return an address without its credentials and its query: what may be shown and logged."""
    try:
        parts = urlsplit(url)
        if "@" in parts.path + parts.query + parts.fragment:  # what is before it may be the rest of a password
            return "***"
        place = parts.netloc.rpartition("@")
        host = f"***@{place[2]}" if place[1] else place[2]
        return urlunsplit((parts.scheme, host, parts.path, "***" if parts.query else "", ""))
    except ValueError:
        return "***"


def address_of(source: Rtsp | Http | File | Device | Stdin) -> str:
    """Return where a source's frames come from, as it may be shown and logged."""
    if isinstance(source, Rtsp | Http):
        return masked(source.url.get_secret_value())
    return "-" if isinstance(source, Stdin) else str(source.path)


def _of_scheme(url: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    begin = " or ".join(f"{one}://" for one in schemes)
    try:
        parts = urlsplit(url.get_secret_value())
        good = parts.scheme.lower() in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        good &= "@" not in parts.path + parts.query and not parts.fragment  # a password that is not encoded
    except ValueError:
        good = False  # the port is no number: often the rest of a password; so it is not shown
    if not good:
        raise ValueError(f"expected an address that begins with {begin} (/ ? # @ in a password as %2F %3F %23 %40)")
    return url


def _with_variables(content: Any, path: Path, place: tuple[str, ...]) -> Any:
    """Return content with ``${NAME}`` replaced in all texts."""
    if isinstance(content, dict):
        return {key: _with_variables(value, path, (*place, str(key))) for key, value in content.items()}
    if isinstance(content, list):
        return [_with_variables(value, path, (*place, str(index))) for index, value in enumerate(content)]
    if not isinstance(content, str):
        return content

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise InputError(f"{path}: {'.'.join(place)}: the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return VARIABLE.sub(value, content)
