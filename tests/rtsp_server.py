"""An RTSP server for tests, run by Debian's Python: rtsp_server.py PORT FILM MOUNTS serves /0, /1, ... looped.

A fourth argument, a PEM file with a certificate and its key, makes it one of rtsps.

The film is plain H.264 of 25 frames a second, each behind an access unit delimiter, in the order they are shown.
"""

import sys
import time
from pathlib import Path
from threading import Thread

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

RATE = 25
DELIMITER = b"\x00\x00\x00\x01\x09"


def push(source, frames):
    """Give frames at their times until the client has gone."""
    begun, number = time.monotonic(), 0
    while True:
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        buffer = Gst.Buffer.new_wrapped(frames[number % len(frames)])
        buffer.pts = buffer.dts = number * Gst.SECOND // RATE
        buffer.duration = Gst.SECOND // RATE
        if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
            return
        number += 1


class Looped(GstRtspServer.RTSPMediaFactory):
    """Plays a film again and again without decoding it."""

    def __init__(self, frames):
        super().__init__()
        self.frames = frames
        self.set_launch(
            "( appsrc name=frames is-live=true format=time caps=video/x-h264,stream-format=byte-stream,alignment=au,"
            f"framerate={RATE}/1 ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
        )
        allowed = GstRtspServer.RTSPPermissions()
        for word in ("access", "construct"):
            allowed.add_permission_for_role("all", f"media.factory.{word}", True)
        self.set_permissions(allowed)
        self.set_shared(True)
        self.connect("media-configure", self.begin)

    def begin(self, _, media):
        source = media.get_element().get_child_by_name("frames")
        Thread(target=push, args=(source, self.frames), daemon=True).start()


def main(port, film, mounts, certificate=None):
    Gst.init(None)
    content = Path(film).read_bytes()
    frames = [DELIMITER + part for part in content.split(DELIMITER)[1:]]
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    for number in range(int(mounts)):
        server.get_mount_points().add_factory(f"/{number}", Looped(frames))
    if certificate:
        access, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "all")
        access.set_default_token(token)
        access.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
        server.set_auth(access)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
