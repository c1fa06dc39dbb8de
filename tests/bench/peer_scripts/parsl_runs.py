"""No-op bash runs through parsl with two workers: ``threads|htex N_CHAIN N_FAN_OUT``."""

import json
import sys
import time

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.providers import LocalProvider


@parsl.bash_app
def run_bash() -> str:
    return "true"


def executor(kind: str) -> object:
    if kind == "threads":
        return ThreadPoolExecutor(max_threads=2)
    return HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=1,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )


def main() -> None:
    kind, n_chain, n_fan_out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with parsl.load(Config(executors=[executor(kind)], run_dir="runinfo", usage_tracking=0)):
        for future in [run_bash() for _ in range(4)]:
            future.result()
        began = time.perf_counter()
        for _ in range(n_chain):
            run_bash().result()
        chained = time.perf_counter()
        for future in [run_bash() for _ in range(n_fan_out)]:
            future.result()
        ended = time.perf_counter()
    found = {}
    if n_chain:
        found["chain"] = 1e3 * (chained - began) / n_chain
    if n_fan_out:
        found["fan_out"] = n_fan_out / (ended - chained)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
