"""No-op bash runs through dask distributed with two workers: ``N_CHAIN N_FAN_OUT``."""

import json
import subprocess
import sys
import time

from distributed import Client


def run_bash(i: int) -> int:
    return subprocess.run(["bash", "-c", "true"], check=True).returncode


def main() -> None:
    n_chain, n_fan_out = map(int, sys.argv[1:])
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        client.gather(client.map(run_bash, range(-4, 0)))
        began = time.perf_counter()
        for i in range(n_chain):
            client.submit(run_bash, 10**6 + i).result()
        chained = time.perf_counter()
        client.gather(client.map(run_bash, range(n_fan_out)))
        ended = time.perf_counter()
    found = {}
    if n_chain:
        found["chain"] = 1e3 * (chained - began) / n_chain
    if n_fan_out:
        found["fan_out"] = n_fan_out / (ended - chained)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
