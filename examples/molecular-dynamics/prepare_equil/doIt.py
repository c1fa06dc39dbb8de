"""Write the state that the equilibration begins with: equil/segment-0.json."""

from molecule import read, system_dir, write

import motoko

with motoko.running() as (run, job):
    root = system_dir(run)
    read(root / "build" / "params.json")
    write(root / "equil" / "segment-0.json", state={"x": 1.0, "v": 0.0}, positions=[])
