"""Run by the Python of the existing packages, in the directory of a study that they made: prints
what they say of it. Speaks to them through what their documentation says."""

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
                run.pushQuantity([v + run.id for v in value] if isinstance(value, list)
                                 else value * job.x, step, asked["names"][step])
            if run.id % 2:
                run.start()
                run.finish()
        for text in asked["constraints"]:
            pairs = BD.RunSelector(base).selectRuns([text], quiet=True)
            found["selections"][text] = sorted(run.id for run, _ in pairs)
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
