"""Find the force field of a ligand: build/params.json."""

from molecule import read, system_dir, write

import motoko

with motoko.running() as (run, job):
    build = system_dir(run) / "build"
    complex_ = read(build / "complex.json")
    if "well" not in complex_:
        raise RuntimeError("no force field fits this ligand")
    write(build / "params.json", well=complex_["well"] - 0.1 * complex_["charge"])
