"""Look whether the equilibration has come to rest: equil/summary.json."""

from molecule import energy, mean, read, system_dir, write

import motoko

with motoko.running() as (run, job):
    root = system_dir(run)
    well = read(root / "build" / "params.json")["well"]
    segments = [read(file) for file in sorted((root / "equil").glob("segment-[1-9]*.json"))]
    energies = [energy(x, well, 1.0) for segment in segments for x in segment["positions"]]
    run.mean_energy = mean(energies)
    write(
        root / "equil" / "summary.json",
        mean_energy=run.mean_energy,
        n_samples=len(energies),
        last=segments[-1]["state"],
    )
