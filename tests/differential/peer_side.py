"""What the existing packages say of a study that they made, printed by their Python.

Speaks to them through what their documentation says.
"""

import contextlib
import io
import json
import sys

import BlackDynamite as BD


def plain(value):
    if hasattr(value, "item"):
        return value.item()
    return value


def main():
    asked = json.loads(sys.argv[1])
    found = {"selections": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        base = BD.Base()
        for run, job in BD.RunSelector(base).selectRuns([], quiet=True):
            for step, value in enumerate(asked["values"]):
                run.pushQuantity(
                    [v + run.id for v in value] if isinstance(value, list) else value * job.x,
                    step,
                    asked["names"][step],
                )
            if run.id % 2:
                run.start()
                run.finish()
        for text in asked["constraints"]:
            try:
                pairs = BD.RunSelector(base).selectRuns([text], quiet=True)
                found["selections"][text] = sorted(run.id for run, _ in pairs)
            except Exception as error:
                found["selections"][text] = repr(error)
        pairs = BD.RunSelector(base).selectRuns([], quiet=True)
        found["runs"] = {
            run.id: {
                "job_id": run.job_id,
                "state": run.state,
                "job": {k: plain(v) for k, v in job.entries.items() if v is not None},
                "kind": run.kind,
                "quantities": {
                    name: [list(map(str, f.columns)), f.values.tolist()]
                    for name in sorted(set(asked["names"]))
                    for f in [run.getQuantity(name)]
                },
            }
            for run, job in pairs
        }
    print("FOUND" + json.dumps(found))


main()
