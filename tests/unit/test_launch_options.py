"""Options of batch systems that say what Motoko has to know too."""

from __future__ import annotations

from math import inf

import pytest

from motoko.launch.batch_generator import BatchGenerator
from motoko.launch.pbs import Pbs
from motoko.launch.sge import GridEngine
from motoko.launch.slurm import Slurm


@pytest.mark.parametrize(
    ("system", "options", "wanted"),
    [
        (Slurm(), ["--time=1:00:00"], 3600),
        (Slurm(), ["time=90"], 5400),
        (Slurm(), ["-t 1-12"], 129_600),
        (Slurm(), ["time=60", "qos=long", "t=10:30"], 630),
        (Slurm(), ["time=UNLIMITED"], inf),
        (Slurm(), ["time=0"], inf),
        (Slurm(), ["time=soon"], None),
        (Slurm(), ["qos=time"], None),
        (GridEngine(), ["l=h_rt=60"], 60),
        (GridEngine(), ["-l h_vmem=4G,h_rt=1:00:00", "V"], 3600),
        (GridEngine(), ["l=h_rt=INFINITY"], inf),
        (GridEngine(), ["l=h_vmem=4G", "h_rt=60"], None),
        (Pbs(), ["l=select=1:ncpus=4,walltime=2:00:00"], 7200),
        (Pbs(), ["-l walltime=90"], 90),
        (Pbs(), ["l=nodes=1:ppn=4"], None),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_walltime_is_known_from_the_systems_own_options(
    system: BatchGenerator, options: list[str], wanted: float | None
) -> None:
    assert system.walltime_s(options) == wanted
