"""No-op runs without a database, two at a time: what files and forks alone cost.

One bash a run. Each has a directory with three files made for it (the script, the facts of the
run, the output), takes a token before the script and leaves an outcome after it, both with what
bash has built in. ``N``: how many.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

BEFORE = """\
set -o noclobber
{ printf '%s %s\\n' "$$" "$EPOCHREALTIME" > token; } 2>/dev/null || exit 0
set +o noclobber
trap 'printf "{\\"exit\\": %d, \\"end\\": %s}\\n" $? $EPOCHREALTIME > outcome' EXIT
"""
SCRIPT = "true\n"
WORKERS = 2


def start(root: str, i: int) -> int:
    directory = f"{root}/run-{i}"
    os.mkdir(directory)  # noqa: PTH102  (as fast as can be)
    with open(f"{directory}/launch.sh", "w") as file:
        file.write(BEFORE + SCRIPT)
    with open(f"{directory}/run.json", "w") as file:
        file.write(json.dumps({"id": i, "job": {"x": float(i)}}))
    output = os.open(f"{directory}/output", os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        return os.posix_spawn(
            "/bin/bash",
            ["bash", "-c", f"cd {directory} && . ./launch.sh"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
            setsid=True,
        )
    finally:
        os.close(output)


def main() -> None:
    n_runs = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="motoko-bench-loop-", dir=".") as root:
        before = os.times()
        began = time.perf_counter()
        n_executing = 0
        for i in range(n_runs):
            if n_executing == WORKERS:
                os.wait()
                n_executing -= 1
            start(root, i)
            n_executing += 1
        for _ in range(n_executing):
            os.wait()
        taken = time.perf_counter() - began
        after = os.times()
        for i in range(n_runs):
            with open(f"{root}/run-{i}/outcome") as file:
                assert json.load(file)["exit"] == 0
    own, children = (sum(after[i : i + 2]) - sum(before[i : i + 2]) for i in (0, 2))
    found = {
        "fan_out": n_runs / taken,
        "cpu of itself": 1e3 * own / n_runs,
        "cpu of its children": 1e3 * children / n_runs,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
