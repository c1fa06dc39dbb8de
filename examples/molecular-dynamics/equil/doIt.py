"""Equilibrate, segment by segment: equil/segment-1.json, ...

Each segment goes on from the file of the one before. A run that was ended in between goes on
after the last segment whose file is there.
"""

from molecule import energy, mean, read, simulate, system_dir, write

import motoko

with motoko.running() as (run, job):
    root = system_dir(run)
    well = read(root / "build" / "params.json")["well"]
    for number in range(1, job.n_segments + 1):
        file = root / "equil" / f"segment-{number}.json"
        if file.exists():
            continue
        before = read(root / "equil" / f"segment-{number - 1}.json")["state"]
        state, positions = simulate(before, job.segment_steps, seed=number, well=well)
        write(file, state=state, positions=positions)
        run.push_quantity(mean([energy(x, well, 1.0) for x in positions]), number, "energy")
