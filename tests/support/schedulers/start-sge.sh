#!/usr/bin/env bash
# Debian's Grid Engine with this host alone, without systemd: for the tests. May be run twice. Needs root.
# Its state is where Debian has it: /var/lib/gridengine, /var/spool/gridengine.
set -euo pipefail
SLOTS=8 HOST=$(hostname)
export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
alive() { local p; p=$(cat "$1" 2>/dev/null) || return 1; case $(head -c 64 "/proc/$p/stat" 2>/dev/null) in "$p ($2) Z"*) return 1;; "$p ($2) "*) return 0;; esac; return 1; }
"$(dirname "$0")/install.sh" gridengine-master gridengine-exec gridengine-client
C=$SGE_ROOT/$SGE_CELL/common
echo "$HOST" >"$C/act_qmaster"
# 127.0.0.1 means the first of its names in /etc/hosts: all of them have to be one host
names=$(getent hosts 127.0.0.1 | awk '{for(i=2;i<=NF;i++) print $i}'; awk '$1=="127.0.0.1"{for(i=2;i<=NF;i++) print $i}' /etc/hosts)
echo "$HOST $(printf '%s\n' $names | sort -u | grep -vx "$HOST" | tr '\n' ' ')" >"$C/host_aliases"
M=/var/spool/gridengine/qmaster/qmaster.pid
alive "$M" sge_qmaster || { rm -f "$M"; sge_qmaster; }
for _ in $(seq 100); do timeout 5 qconf -sh >/dev/null 2>&1 && break; sleep .1; done
q() { timeout 20 qconf "$@" >/dev/null 2>&1 || true; }
f=$(mktemp)
trap 'rm -f "$f" "$f.ed"' EXIT
q -ah "$HOST"; q -as "$HOST"; q -am root
printf 'hostname %s\nload_scaling NONE\ncomplex_values NONE\nuser_lists NONE\nxuser_lists NONE\nprojects NONE\nxprojects NONE\nusage_scaling NONE\nreport_variables NONE\n' "$HOST" >"$f"
q -Ae "$f"
qconf -sconf | sed -E 's/^(min_uid|min_gid) .*/\1 0/; s/^(reporter_params|execd_params) .*/execd_params none/' >"$f"
printf '#!/bin/sh\ncat "%s" >"$1"\n' "$f" >"$f.ed"; chmod +x "$f.ed"
EDITOR=$f.ed q -mconf global
qconf -ssconf | sed -E 's/^schedule_interval .*/schedule_interval 0:0:1/; s/^flush_submit_sec .*/flush_submit_sec 1/; s/^flush_finish_sec .*/flush_finish_sec 1/' >"$f"; q -Msconf "$f"
printf 'group_name @allhosts\nhostlist %s\n' "$HOST" >"$f"; q -Ahgrp "$f"; q -Mhgrp "$f"
if ! qconf -sq all.q >/dev/null 2>&1; then
  cat >"$f.ed" <<X
#!/bin/sh
sed -i -E 's/^qname .*/qname all.q/; s/^hostlist .*/hostlist @allhosts/; s/^slots .*/slots $SLOTS/; s/^pe_list .*/pe_list NONE/; s/^load_thresholds .*/load_thresholds NONE/; s|^shell .*|shell /bin/sh|; s/^shell_start_mode .*/shell_start_mode unix_behavior/' "\$1"
X
  EDITOR=$f.ed q -aq all.q
fi
E=$(ls /var/spool/gridengine/execd/*/execd.pid 2>/dev/null | head -1 || true)
alive "$E" sge_execd || { rm -f "$E"; sge_execd >/dev/null; }
end=$((SECONDS+40))
while [ $SECONDS -lt $end ]; do
  timeout 10 qstat -f 2>/dev/null | awk '/^all.q/ {ok = ($4 != "-NA-" && NF < 6)} END {exit !ok}' && exit 0
  sleep .2
done
echo "the queue did not come up" >&2; qstat -f >&2
exit 1
