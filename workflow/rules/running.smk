# How a run is started, and what keeps runs from each other.
import fcntl
import shlex
import sys
from pathlib import Path

import snakemake.benchmark
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from vadistill.errors import InputError
from vadistill.settings import GPUS, TRUSTED_WEIGHTS
from vadistill.settings.check import check

try:
    check(config)
except InputError as error:
    raise WorkflowError(str(error)) from None


def shell_prefix():
    """The package is found without being installed, and `python` is the one that runs snakemake."""
    if bad := sorted(set(':"$`\\{}\n') & set(str(workflow.basedir))):
        raise WorkflowError(
            f"{str(workflow.basedir)!a}: no folder for this project; expected a path without {' '.join(map(ascii, bad))}"
        )
    lines = ["set -euo pipefail", f"export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}"]
    # Stores are written under other names and renamed, so that locks protect nothing; many network folders refuse them.
    lines.append("export HDF5_USE_FILE_LOCKING=FALSE")
    # As many threads as the rule has been given, not one for each processor beside those of torch.
    lines.append("export OPENCV_FOR_THREADS_NUM=$OMP_NUM_THREADS")
    # What a step of a training frees it wants again: glibc would give it back to the system, which clears it every time.
    lines.append("export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296")
    if not workflow.deployment_settings.deployment_method:
        lines.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    if trusted := config.get("trusted_weights"):
        lines.append(f"export {TRUSTED_WEIGHTS}={','.join(sorted(trusted.values()))}")
    lines.append(f"export {GPUS}={config.get('gpus', 1)}")
    return "; ".join(lines) + "; "


shell.prefix(shell_prefix())


# Seconds between two of the first looks at a job's memory for its benchmark, of which each reads all of its page tables. With
# half a second, Snakemake's own, runs of many short jobs spend a tenth of a core on them.
snakemake.benchmark.BENCHMARK_INTERVAL_SHORT = 2


HELD, TO_HOLD = [], set()


def hold(dataset, rule, *parts):
    """Keep other runs from making the same results as long as this process lives, however it ends.

    Snakemake's own lock is not enough: a run that ends removes the locks of all runs, and so does --unlock.
    """
    path = Path(".snakemake/held", ".".join((dataset, rule, *parts)))
    path.parent.mkdir(exist_ok=True)
    HELD.append(path.open("w"))
    try:
        fcntl.flock(HELD[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(f"{dataset}: another run is about to {rule}; wait for its end, or stop it") from None
    except OSError:  # a file system without such locks
        pass


onstart:
    # Not by clip and shard: of these there may be more than a process can have open files.
    for job in workflow.dag.needrun_jobs():
        known = job.wildcards_dict
        if "dataset" in known:
            of = known.get("teacher") or known.get("detector", "")
            TO_HOLD.add((known["dataset"], job.rule.name, known.get("split", ""), of))
    for parts in sorted(TO_HOLD):
        hold(*parts)


def check_for_cluster(dataset, names):
    """Refuse names that would be run: a job's name reaches a cluster in quotes of Python, and then of a shell."""
    if workflow.local_exec or not workflow.is_main_process:
        return
    for name in names:
        if set(name) & set("'\"`$,") or len(name.encode()) > 100:
            raise WorkflowError(
                f"{dataset}: the clip {name!r} cannot be named to a cluster; expected at most 100 bytes and none of"
                " ' \" ` $ and comma (a link of another name may lead to it)"
            )
