"""Integrate over the windows of each component: result.json."""

from itertools import pairwise

from molecule import mean, read, system_dir, write

import motoko

with motoko.running() as (run, job):
    root = system_dir(run)
    parts = {}
    for component in sorted((root / "fe").iterdir()):
        windows = [read(file) for file in component.glob("*/samples.json")]
        points = sorted((one["coupling"], mean(one["slopes"])) for one in windows)
        parts[component.name] = sum(
            (b - a) * (f + g) / 2 for (a, f), (b, g) in pairwise(points)
        )
    run.free_energy = sum(parts.values())
    write(root / "result.json", free_energy=run.free_energy, parts=parts)
