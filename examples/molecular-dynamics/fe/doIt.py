"""Sample one window of one component: fe/COMPONENT/WINDOW/samples.json.

They are samples of dU/dlambda, where lambda is how far the component is switched on.
"""

from molecule import read, simulate, system_dir, write

import motoko

N_STEPS = 2000
STRENGTH = {"vdw": 1.0, "coul": 0.5}

with motoko.running() as (run, job):
    root = system_dir(run)
    well = read(root / "build" / "params.json")["well"]
    place = root / "fe" / job.component / str(job.window)
    start = read(place / "start.json")
    strength = STRENGTH[job.component]
    _, positions = simulate(
        start["state"],
        N_STEPS,
        seed=f"{job.component}{job.window}",
        well=well,
        strength=strength * start["coupling"],
    )
    slopes = [strength * well * x for x in positions[N_STEPS // 4 :]]
    write(place / "samples.json", coupling=start["coupling"], slopes=slopes)
