#!/usr/bin/env bash
# Ends what start-slurm.sh has started in SLURM_TEST_DIR, each by its pid, and removes that directory.
set -uo pipefail
D=${SLURM_TEST_DIR:?}
export SLURM_CONF=$D/etc/slurm.conf
alive() { case $(head -c 64 "/proc/$1/stat" 2>/dev/null) in "$1 ($2) Z"*) return 1;; "$1 ($2) "*) return 0;; esac; return 1; }
if [ -s "$D/run/slurmctld.pid" ] && alive "$(cat "$D/run/slurmctld.pid")" slurmctld; then
  timeout 10 scancel -u root 2>/dev/null
  for _ in $(seq 50); do [ -z "$(timeout 10 squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
fi
for d in slurmd slurmctld slurmdbd mariadbd munged; do
  p=$(cat "$D/run/$d.pid" 2>/dev/null) || continue
  alive "$p" "$d" || continue
  kill "$p" 2>/dev/null
  for i in $(seq 100); do
    alive "$p" "$d" || break
    [ "$i" = 80 ] && kill -9 "$p" 2>/dev/null
    sleep 0.1
  done
done
rm -rf "$D"
exit 0
