"""Put the ligand of a system into its box: ligand.json becomes build/complex.json."""

from molecule import read, system_dir, write

import motoko

with motoko.running() as (run, job):
    root = system_dir(run)
    ligand = read(root / "ligand.json")
    write(
        root / "build" / "complex.json",
        atoms=ligand["atoms"] + 3 * 20,  # and twenty molecules of water
        well=ligand["well"],
        charge=run.charge,
    )
