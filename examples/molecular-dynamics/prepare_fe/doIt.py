"""Write what each window of a component begins with: fe/COMPONENT/WINDOW/start.json."""

from molecule import read, system_dir, write

import motoko

with motoko.running() as (run, job):
    root = system_dir(run)
    last = read(root / "equil" / "summary.json")["last"]
    for window in range(job.n_windows):
        coupling = window / (job.n_windows - 1)
        write(
            root / "fe" / job.component / str(window) / "start.json",
            state=last,
            coupling=coupling,
        )
