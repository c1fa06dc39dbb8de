#!/usr/bin/env bash
# Slurm with one node on this machine, without systemd: for the tests. May be run twice. Needs root.
#   SLURM_TEST_DIR   everything it keeps (slurm.conf, state, logs, pids)
#   SLURM_TEST_PORT  of slurmctld; slurmd has the next one, slurmdbd the one after that
#   SLURM_TEST_ACCT  none, or slurmdbd: a private MariaDB, so that sacct works
# Prints the path of slurm.conf, which its clients need as SLURM_CONF.
set -euo pipefail
D=${SLURM_TEST_DIR:?} PORT=${SLURM_TEST_PORT:-16817} ACCT=${SLURM_TEST_ACCT:-none} CPUS=8
HOST=$(hostname -s)
alive() { # alive PIDFILE NAME: whether that program is there, and no zombie
  local p; p=$(cat "$1" 2>/dev/null) && [ -n "$p" ] || return 1
  case $(head -c 64 "/proc/$p/stat" 2>/dev/null) in "$p ($2) Z"*) return 1;; "$p ($2) "*) return 0;; esac
  return 1
}
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

packages=(slurmctld slurmd slurm-client munge)
[ "$ACCT" = slurmdbd ] && packages+=(slurmdbd mariadb-server-core mariadb-client-core)
"$(dirname "$0")/install.sh" "${packages[@]}"

mkdir -p "$D"/{etc,log,run,ctld,spool,munge}
chmod 755 "$D" "$D"/{etc,log,run,spool}
chmod 700 "$D"/{ctld,munge}
[ -s "$D/munge/munge.key" ] || (umask 077; head -c 1024 /dev/urandom >"$D/munge/munge.key")
chmod 400 "$D/munge/munge.key"

accounting="AccountingStorageType=accounting_storage/none"
[ "$ACCT" = slurmdbd ] && accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT+2))
AccountingStoragePass=$D/run/munge.socket"
MEM=$(awk '/^MemTotal/ {print int($2/1024)}' /proc/meminfo)
cat >"$D/etc/slurm.conf" <<CONF
ClusterName=motoko
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT
SlurmdPort=$((PORT+1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.socket
CredType=cred/munge
StateSaveLocation=$D/ctld
SlurmdSpoolDir=$D/spool
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=64
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,defer_batch
SlurmdParameters=config_overrides
ReturnToService=2
MaxArraySize=10001
MinJobAge=300
KillWait=2
OverTimeLimit=0
InactiveLimit=0
WaitTime=0
CompleteWait=0
MessageTimeout=5
JobCompType=jobcomp/none
$accounting
NodeName=$HOST NodeAddr=127.0.0.1 NodeHostname=$HOST CPUs=$CPUS Boards=1 SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEM State=UNKNOWN
PartitionName=debug Nodes=$HOST Default=YES MaxTime=INFINITE State=UP
CONF
printf 'CgroupAutomount=no\n' >"$D/etc/cgroup.conf"
export SLURM_CONF=$D/etc/slurm.conf

if ! alive "$D/run/munged.pid" munged; then
  rm -f "$D"/run/munge.socket* "$D/run/munged.pid"
  munged --force --key-file="$D/munge/munge.key" --socket="$D/run/munge.socket" \
    --pid-file="$D/run/munged.pid" --log-file="$D/log/munged.log" --seed-file="$D/munge/seed" \
    --num-threads=2 >>"$D/log/munged.out" 2>&1
fi
if [ "$ACCT" = slurmdbd ]; then
  if ! alive "$D/run/mariadbd.pid" mariadbd; then
    id mysql >/dev/null 2>&1 || useradd -r -M -s /usr/sbin/nologin mysql
    mkdir -p "$D/db"; chown -R mysql "$D/db"
    [ -d "$D/db/mysql" ] || mariadb-install-db --no-defaults --user=mysql --datadir="$D/db" \
      --auth-root-authentication-method=normal --skip-test-db >"$D/log/mariadb-install.out" 2>&1
    setsid mariadbd --no-defaults --user=mysql --datadir="$D/db" --skip-networking \
      --socket="$D/db/s.sock" --pid-file="$D/db/mariadbd.pid" --innodb-buffer-pool-size=64M \
      --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 \
      >>"$D/log/mariadbd.log" 2>&1 </dev/null &
    echo $! >"$D/run/mariadbd.pid"; disown
    sql() { mariadb --no-defaults -S "$D/db/s.sock" -uroot -e "$1" >/dev/null 2>&1; }
    for _ in $(seq 200); do sql 'select 1' && break; sleep .1; done
    sql "create user if not exists slurm@localhost identified by 'slurm';
      grant all on slurm_acct_db.* to slurm@localhost; create database if not exists slurm_acct_db"
  fi
  (umask 077; cat >"$D/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.socket
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=$((PORT+2))
SlurmUser=root
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CommitDelay=1
CONF
  )
  if ! alive "$D/run/slurmdbd.pid" slurmdbd; then
    # libmariadb takes the socket for StorageHost=localhost from here
    MYSQL_UNIX_PORT=$D/db/s.sock slurmdbd >>"$D/log/slurmdbd.out" 2>&1
    for _ in $(seq 200); do taken $((PORT+2)) && break; sleep .1; done
    sacctmgr -i -n list cluster format=cluster 2>/dev/null | grep -qw motoko ||
      sacctmgr -i add cluster motoko >/dev/null 2>&1 || true
  fi
fi
alive "$D/run/slurmctld.pid" slurmctld || slurmctld -i >>"$D/log/slurmctld.out" 2>&1
alive "$D/run/slurmd.pid" slurmd || slurmd >>"$D/log/slurmd.out" 2>&1

end=$((SECONDS+40))
while [ $SECONDS -lt $end ]; do
  case $(timeout 10 sinfo -h -o %T -p debug 2>/dev/null || true) in
    idle|mixed|allocated) echo "$SLURM_CONF"; exit 0;;
    down*|drain*) scontrol update nodename="$HOST" state=resume 2>/dev/null || true;;
  esac
  sleep 0.1
done
echo "the node did not come up" >&2
tail -n 20 "$D"/log/slurm*.log >&2
exit 1
