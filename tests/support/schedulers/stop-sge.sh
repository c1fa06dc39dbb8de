#!/usr/bin/env bash
# Ends what start-sge.sh has started, each by its pid.
export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
alive() { case $(head -c 64 "/proc/$1/stat" 2>/dev/null) in "$1 ($2) Z"*) return 1;; "$1 ($2) "*) return 0;; esac; return 1; }
timeout 10 qdel -f -u '*' >/dev/null 2>&1
for x in sge_execd:$(ls /var/spool/gridengine/execd/*/execd.pid 2>/dev/null | head -1) sge_qmaster:/var/spool/gridengine/qmaster/qmaster.pid; do
  n=${x%%:*}; p=$(cat "${x#*:}" 2>/dev/null) || continue
  alive "$p" "$n" && kill "$p"
  for i in $(seq 100); do alive "$p" "$n" || break; [ "$i" = 80 ] && kill -9 "$p"; sleep .1; done
done
exit 0
