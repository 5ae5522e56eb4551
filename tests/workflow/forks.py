"""A process that has imported what stages and Snakemake import, and is forked for each of them that a test starts.

``Forks.python`` stands for the interpreter: what it is asked to run runs in a fork, with its arguments, folder,
environment and streams; signals and exit status are passed on. Anything but ``-m vadistill...`` and ``-m snakemake`` is
left to the real interpreter. What libraries read when they are imported (OMP_NUM_THREADS) is that of the first process.
"""

import atexit
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from importlib import import_module
from pathlib import Path

QUIET = {"OMP_NUM_THREADS": "1", "ULTRALYTICS_SAFE_LOAD": "true", "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}
IMPORTED = (
    *("torch._dynamo", "torchvision.ops", "ultralytics.nn.autobackend", "sklearn.metrics", "sklearn.linear_model"),
    *("sklearn.neighbors", "scipy.optimize", "scipy.spatial", "scipy.io", "pandas", "matplotlib.backends.backend_svg"),
    *("matplotlib.backends.backend_agg", "cv2", "h5py", "av", "jinja2", "snakemake.cli", "snakemake.workflow"),
)


class Forks:
    """The process to fork; a context, which ends it."""

    def __enter__(self) -> "Forks":
        self.folder = Path(tempfile.mkdtemp(prefix="forks-"))  # the user's own; short, as a socket's path must be
        self.python, address = self.folder / "python", str(self.folder / "socket")
        lines = f"#!{sys.executable} -IS", "import sys", f"sys.path.insert(0, {str(Path(__file__).parent)!r})"
        call = f"forks.call({address!r}, {sys.executable!r})"
        self.python.write_text("\n".join((*lines, "import forks", call, "")), encoding="utf-8")
        self.python.chmod(0o700)
        environment = {**os.environ, **QUIET, "YOLO_CONFIG_DIR": str(self.folder), "PYTHONPATH": ""}
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, __file__, address, self.python], env=environment, **streams)
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_) -> None:
        self.process.communicate()  # closes its input, upon which it ends
        shutil.rmtree(self.folder)


def call(address: str, python: str) -> None:
    """Be ``python``: have a fork run what the command line says, and end as it does."""
    if sys.argv[1] != "-m" or sys.argv[2].split(".")[0] not in ("vadistill", "snakemake"):
        os.execv(python, [python, *sys.argv[1:]])
    request = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: server.sendall(bytes([number])))
        socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(request)
        status = int(server.recv(8))
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def serve(address: str) -> socket.socket:
    """Return the connection of a call, in a fork for it; the first process ends here, once its input is closed."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to all; the end of the tests is its end
        forked = 0
        while server in select.select([server, sys.stdin], [], [])[0]:
            caller, _ = server.accept()
            if not os.fork():
                return caller
            caller.close()
            forked += 1
            while forked and os.waitpid(-1, os.WNOHANG)[0]:
                forked -= 1
    os._exit(0)


def become(caller: socket.socket, python: str) -> str:
    """Take on what the call says, in another fork, which this one watches; returns the module to run."""
    size, streams, *_ = socket.recv_fds(caller, 8, 3)
    words, folder, environment = json.loads(caller.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    if child := os.fork():
        ended = os.pidfd_open(child)
        while ended not in select.select([ended, caller], [], [])[0]:
            os.kill(child, *(caller.recv(1) or [signal.SIGKILL]))  # no caller, no child
        caller.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    caller.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.executable = words, python
    sys.path[0:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return words[0]


def run(module: str) -> None:
    """Run a module as a program and end, without taking apart what has been imported."""
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(int(status))


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lack the other threads"
    gc.freeze()
    run(become(serve(sys.argv[1]), sys.argv[2]))
