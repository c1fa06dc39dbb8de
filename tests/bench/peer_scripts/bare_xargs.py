"""A bash for each line, two at a time, through xargs: ``N``."""

import json
import subprocess
import sys
import time

n_runs = int(sys.argv[1])
lines = "".join(f"{i}\n" for i in range(n_runs))
began = time.perf_counter()
subprocess.run(
    ["xargs", "-P2", "-n1", "bash", "-c", "true"], input=lines, text=True, check=True
)
print(json.dumps({"fan_out": n_runs / (time.perf_counter() - began)}))
