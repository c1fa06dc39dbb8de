#!/bin/bash
# Start a dask cluster of local processes: a scheduler, and two workers that offer two cores each.
# DASK_TEST_DIR is where its files lie, DASK_TEST_PYTHON what it is started with.
set -euo pipefail
: "${DASK_TEST_DIR:?}" "${DASK_TEST_PYTHON:?}"
cd -- "$DASK_TEST_DIR"

start() { # NAME COMMAND...
  local name=$1
  shift
  setsid "$@" </dev/null >"$name.log" 2>&1 &
  echo $! >"$name.pid"
}

start scheduler "$DASK_TEST_PYTHON" -m distributed.cli.dask_scheduler --host 127.0.0.1 --port 0 \
  --no-dashboard --no-jupyter --scheduler-file scheduler.json
for name in worker1 worker2; do
  start "$name" "$DASK_TEST_PYTHON" -m distributed.cli.dask_worker --host 127.0.0.1 \
    --scheduler-file scheduler.json --nthreads 2 --resources cores=2 --no-dashboard \
    --name "$name" --local-directory "$DASK_TEST_DIR/$name"
done
for ((n = 0; n < 600; n++)); do
  n_workers=$(grep -c "Register worker addr" scheduler.log || true)
  if ((n_workers == 2)); then
    grep -o 'Scheduler at: *tcp://[^ ]*' scheduler.log | sed 's/.*tcp/tcp/'
    exit 0
  fi
  sleep 0.1
done
cat -- *.log
exit 1
