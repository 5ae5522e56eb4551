"""What pyproject.toml says of packages, and a Python in which some of them are missing."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE, EXTRAS = PROJECT["dependencies"], PROJECT["optional-dependencies"]
# Packages whose name differs from that of their module.
MODULES = {
    **{"opencv-python": "cv2", "scikit-learn": "sklearn", "PyYAML": "yaml", "pillow": "PIL"},
    **{"paho-mqtt": "paho", "prometheus-client": "prometheus_client"},
}
BLOCK = """
import importlib.abc, json, sys
blocked, arguments = json.loads(sys.argv[1])

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""
COMMANDS = """
import contextlib, io
from vadistill.cli import main
made = []
for words in arguments:
    sys.argv, out, err = ["vadistill", *words], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    made.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(made))
"""


def names(requirements):
    """The packages that some lines of requirements ask for."""
    return {re.match(r"[\w.-]+", line)[0] for line in requirements}


def modules(requirements):
    """The modules of these packages."""
    return {MODULES.get(name, name) for name in names(requirements)}


OPTIONAL = set().union(*map(modules, EXTRAS.values()))


def run_without(blocked, code, arguments, folder):
    """Return what code prints as JSON; it knows ``arguments`` and cannot import the modules that are blocked."""
    command = [sys.executable, "-c", BLOCK + code, json.dumps([sorted(blocked), arguments])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
