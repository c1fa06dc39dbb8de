#!/bin/bash
# End the cluster that start-dask.sh has started in DASK_TEST_DIR.
set -uo pipefail
cd -- "${DASK_TEST_DIR:?}" || exit
for file in worker1.pid worker2.pid scheduler.pid; do
  pid=$(cat "$file") || continue
  kill -TERM -- "-$pid" 2>/dev/null
  for ((n = 0; n < 100; n++)); do
    kill -0 -- "-$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL -- "-$pid" 2>/dev/null
done
exit 0
