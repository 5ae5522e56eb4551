#!/bin/bash
# Start a Slurm of two nodes on this machine, run a command in it, and stop it again:
#
#     tests/trials/slurm/cluster.sh COMMAND ARGUMENT...
#
# Needs, on Debian or Ubuntu: apt-get install slurmctld slurmd slurm-client munge. Root or not; no system service, no file outside a
# temporary folder, no cgroups. Each node claims 8 processors, 30 GB and one GPU that does not exist: requests are counted and limited
# as on a real cluster, and a job that outgrows its memory is killed. With slurmdbd and mariadb-server installed as well, ACCOUNTING=1
# keeps an accounting database, so that sacct answers.
set -euo pipefail

for program in munged slurmctld slurmd sbatch ${ACCOUNTING:+slurmdbd mariadbd}; do
    if ! PATH=$PATH:/usr/sbin command -v "$program" > /dev/null; then
        echo "$program is not installed: nothing was tried (apt-get install slurmctld slurmd slurm-client munge)"
        exit 0
    fi
done
export PATH=$PATH:/usr/sbin

folder=$(mktemp -d)
daemons=()
stop() {
    if [ -n "${work:-}" ]; then
        kill -KILL -- "-$work" 2> /dev/null || true
        scancel --full --signal=KILL --user="$(id -un)" || true  # jobs outlive the daemons
        sleep 1
    fi
    for daemon in "${daemons[@]}"; do
        kill "$daemon" 2> /dev/null && wait "$daemon" || true
    done
    if [ -n "${KEEP:-}" ]; then echo "kept: $folder"; else rm -rf "$folder"; fi
}
trap stop EXIT
trap 'exit 143' TERM INT

# A daemon in the foreground of a background job: its number is known, and its messages are in a file of its own.
start() {
    local name=$1
    shift
    "$@" > "$folder/$name.out" 2>&1 &
    daemons=($! "${daemons[@]}")  # stopped in reverse order
}

# Wait until a command succeeds, for half a minute.
until_it_works() {
    for _ in $(seq 60); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.5
    done
    echo "error: '$*' fails; the last messages of the daemons:"
    tail -n 5 "$folder"/*.out "$folder"/*.log
    exit 1
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

(umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
start munged munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
until_it_works munge --no-input --socket="$folder/munge"

accounting=AccountingStorageType=accounting_storage/none
if [ -n "${ACCOUNTING:-}" ]; then
    port=$(free_port)
    accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageTRES=gres/gpu
AccountingStorageHost=localhost
AccountingStoragePort=$port
AccountingStoragePass=$folder/munge"
    mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$folder/data" > "$folder/install.out" 2>&1
    export MYSQL_UNIX_PORT=$folder/mariadb
    start mariadbd mariadbd --no-defaults --user="$(id -un)" --datadir="$folder/data" --socket="$folder/mariadb" \
        --pid-file="$folder/mariadbd.pid" --skip-networking --innodb-buffer-pool-size=64M
    until_it_works mariadb-admin --no-defaults ping
    (
        umask 077
        cat > "$folder/slurmdbd.conf" << END
AuthType=auth/munge
AuthInfo=socket=$folder/munge
DbdHost=localhost
DbdPort=$port
SlurmUser=$(id -un)
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=$(id -un)
LogFile=$folder/slurmdbd.log
PidFile=$folder/slurmdbd.pid
END
    )
fi

cat > "$folder/slurm.conf" << END
ClusterName=trial
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
$accounting
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
MinJobAge=7200
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(free_port) CPUs=8 RealMemory=30000 Gres=gpu:1
NodeName=node2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(free_port) CPUs=8 RealMemory=30000 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES DefaultTime=10 MaxTime=INFINITE
END
echo "Name=gpu File=/dev/null" > "$folder/gres.conf"
echo "CgroupAutomount=no" > "$folder/cgroup.conf"
mkdir "$folder/state"
export SLURM_CONF=$folder/slurm.conf
# The plugin's job step calls srun without SLURM_CONF: on a real cluster the file is in its usual place.
mkdir "$folder/bin"
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" > "$folder/bin/srun"
chmod +x "$folder/bin/srun"
export PATH=$folder/bin:$PATH
if [ -n "${ACCOUNTING:-}" ]; then
    start slurmdbd slurmdbd -D
    until_it_works timeout 5 sacctmgr --immediate add cluster trial
fi
start slurmctld slurmctld -D
start node1 slurmd -D -N node1
start node2 slurmd -D -N node2
until_it_works bash -c '[ "$(sinfo --noheader --Node --states=idle | wc -l)" = 2 ]'

echo "$(slurmd -V), two nodes: $folder"
# In a session of its own, so that nothing of it is left when this script ends.
setsid "$@" &
work=$!
wait "$work"
