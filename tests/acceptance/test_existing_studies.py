"""A study of the existing kind, worked with by habit: nothing in it was written for Motoko."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import DEADLINE_S, ROOT
from tests.support.processes import kill_processes_of

STUDY = {
    "bd.yaml": """\
study: bd_study
job: {param1: float, param2: float, param3: str}
run: {compiler: str}
job_space: {param1: 10, param2: [3.14, 1., 2.], param3: 'toto'}
run_space: {compiler: 'gcc'}
exec_file: launch.sh
config_files: [config.txt, script.py]
""",
    "launch.sh": """\
#!/bin/sh
echo __BLACKDYNAMITE__param2__ __BLACKDYNAMITE__id__
python3 script.py
canYouDigIt runs update --t "compiler = clang 17"
canYouDigIt runs quantity --quantity_id q --value 1 --step 1 --truerun
canYouDigIt runs quantity --quantity_id w --values 1,2.5 --step 3 --truerun
canYouDigIt runs info
""",
    "config.txt": "__BLACKDYNAMITE__param3__ __BLACKDYNAMITE__run_name__",
    "script.py": """\
import os
import BlackDynamite as BD
myrun, myjob = BD.getRunFromScript()
for name in [name for name in os.environ if name.startswith("BLACKDYNAMITE")]:
    del os.environ[name]
assert myrun.start_time is None and not hasattr(myrun, "nothing")
myrun.start()
assert myrun.start_time > 0
for step in range(3):
    myrun.pushScalarQuantity(myjob.param2 * step, step, "ekin")
myrun.pushVectorQuantity([1.0, myjob.param2], 0, "vec")
myrun.others = [run.id for run, _ in BD.RunSelector(BD.Base()).selectRuns("state != nothing")]
myrun.finish()
""",
    "note.py": """\
import BlackDynamite as BD
base = BD.Base()
for r, j in BD.RunSelector(base).selectRuns("runs.id < 3"):
    r.seen = r.id / 2
    base.commit()
    r.kept = r.seen + 1
""",
    "post.py": """\
import BlackDynamite as BD
parser = BD.BDParser()
parser.register_group("mine").add_argument("--factor", type=float, default=1.0)
params = parser.parseBDParameters()
base = BD.Base(**params)
assert base.schema == "bd_study"
for r, j in BD.RunSelector(base).selectRuns(params, sort_by="param2", quiet=True):
    values = r.getScalarQuantity("ekin")
    print(r.id, j.param2, values.iloc[-1, 1] * params["factor"], *r.listQuantities())
assert [j.id for j in BD.JobSelector(base).selectJobs({"job_id": 2})] == [2]
assert [j.id for j in BD.JobSelector(base).selectJobs("param2 > 1")] == [1, 3]
assert r.getQuantities(["ekin", "vec"]).shape == (3, 4)
assert r.getLastStep()[0] == 3 and "script.py" in r.listFiles()
""",
}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "study"
    directory.mkdir()
    for name, text in STUDY.items():
        (directory / name).write_text(text)
    yield directory
    kill_processes_of(directory)


def shell(directory: Path, line: str, code: int = 0) -> str:
    """What a line prints that is typed in a shell with `eval "$(motoko env)"`."""
    motoko = f"{sys.executable} -m motoko"
    done = subprocess.run(
        ["bash", "-c", f'motoko() {{ {motoko} "$@"; }}; eval "$(motoko env)"; {line}'],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == code, done
    return done.stdout


@pytest.mark.slow
def test_study_is_worked_with_by_habit(study: Path) -> None:
    shell(study, "canYouDigIt init --truerun && canYouDigIt jobs create --truerun")
    assert "3 new jobs" not in shell(study, "canYouDigIt jobs create")
    shell(study, "canYouDigIt runs create --truerun --run_name toto --machine_name here")

    shell(study, "canYouDigIt runs launch --truerun --gen bashCoat")

    assert "FINISHED =>     3 (100.0%)" in shell(study, "canYouDigIt info")
    [run_dir] = study.glob("BD-bd_study-runs/run-2")
    assert (run_dir / "config.txt").read_text() == "toto toto"
    assert (run_dir / "q.csv").read_text() == "step[int],q[int]\n1,1\n"
    said = (run_dir / "toto.o2").read_text().splitlines()
    assert said[0] == "1.0 2"
    assert {"compiler: clang 17", "others: [1, 2, 3]", "state: FINISHED"} <= {*said}
    post = "motoko exec -- python3 post.py --factor 2 --constr 'param2 > 1' --true"
    assert shell(study, post).splitlines() == [
        "3 2.0 8.0 ekin q vec w",
        "1 3.14 12.56 ekin q vec w",
    ]
    shell(study, "canYouDigIt server start; motoko exec -- python3 note.py")
    notes = "canYouDigIt runs info --infos id,seen,kept --constraints 'id < 3'"
    assert shell(study, notes).split()[3:] == ["1", "0.5", "1.5", "2", "1.0", "2.0"]


@pytest.mark.slow
def test_finished_study_is_packed_exported_and_measured(study: Path) -> None:
    shell(study, "canYouDigIt init && canYouDigIt jobs create")
    shell(study, "canYouDigIt runs create --run_name toto; canYouDigIt runs launch")

    assert "packed 3 runs" in shell(study, "motoko archive bd_study")

    shell(study, "motoko verify")
    assert not list((study / "BD-bd_study-runs").glob("run-*"))
    assert "(archives)" in shell(study, "motoko du")
    table = shell(study, "motoko export bd_study 'param2 > 1' --csv -").splitlines()
    assert table[0].startswith("run_id,job_id,param1,param2,param3") and len(table) == 3
    assert shell(study, "motoko exec -- python3 post.py").split()[0] == "2"
    assert shell(study, "canYouDigIt runs exec --run_id 2 cat config.txt") == "toto toto"
    assert "copy" not in shell(study, "canYouDigIt runs exec --run_id 2 ls 2>&1")
    said = shell(study, "canYouDigIt runs exec --run_id 2 touch mine 2>&1")
    assert said.startswith("run 2 is packed: what was written lies in a copy alone")
    assert "copies of 3 runs" in shell(study, "motoko archive bd_study --drop-copies")
    assert "copies of 0 runs" in shell(study, "motoko archive bd_study --drop-copies")
    assert "3 runs unpacked" in shell(study, "motoko archive bd_study --unpack")
    assert (study / "BD-bd_study-runs/run-3/config.txt").exists()


@pytest.mark.slow
def test_runs_are_changed_cleaned_and_looked_at_by_habit(study: Path) -> None:
    shell(study, "canYouDigIt init && canYouDigIt jobs create")
    shell(study, "canYouDigIt runs create --run_name toto; canYouDigIt runs launch")

    shell(
        study, "canYouDigIt runs update --truerun --constraints 'id > 1' state = SLURM submit"
    )
    assert "SLURM submit" in shell(study, "canYouDigIt runs info --run_id 2")
    found = shell(study, "canYouDigIt runs info --infos id,state,param2 --constraints 'id=2'")
    assert found.split() == ["id", "state", "param2", "2", "SLURM", "submit", "1.0"]
    listed = shell(study, "canYouDigIt runs exec --run_id 1 ls -1 config.txt")
    assert listed == "config.txt\n"
    assert shell(study, "canYouDigIt runs exec 'cat toto.o* | head -1' | wc -l") == "3\n"
    shell(study, "canYouDigIt runs quantity --run_id 1 --quantity_id ekin --value 7 --step 9")
    shell(study, "canYouDigIt runs plot --quantity ekin --legend '%r.id' --fileout a.pdf")
    assert (study / "a.pdf").read_bytes().startswith(b"%PDF")
    plot = "canYouDigIt runs plot --quantity ekin,vec --using '%0.x:%1.y-%0.y' --fileout b.pdf"
    assert shell(study, plot) == "6 curves in b.pdf\n"  # vec has two columns
    shell(study, "canYouDigIt runs clean --truerun --constraints 'runs.id = 1'")
    assert not (study / "BD-bd_study-runs" / "run-1").exists()
    shell(study, "canYouDigIt runs clean --delete --truerun --constraints 'runs.id > 1'")
    assert "CREATED =>     1 (100.0%)" in shell(study, "canYouDigIt runs info --summary")
    shell(study, "canYouDigIt reset --truerun")
    assert shell(study, "canYouDigIt jobs info").split() == ["id", "param1", "param2", "param3"]
    assert "no command 'rums'" in shell(study, "canYouDigIt rums 2>&1", 2)


@pytest.mark.slow
def test_installed_package_is_not_hidden_where_the_study_says_so(study: Path) -> None:
    with (study / "bd.yaml").open("a") as file:
        file.write("blackdynamite: installed\n")
    (study / "launch.sh").write_text(
        "python3 -c 'import BlackDynamite' 2>&1; command -v canYouDigIt\ntrue"
    )
    init = "canYouDigIt init; canYouDigIt jobs create; canYouDigIt runs create --run_name a"

    shell(
        study,
        f"{init}; unset PYTHONPATH; PATH=${{PATH#*:}}; motoko bd launch_daemon; "
        "motoko bd runs launch".replace("motoko", f"PYTHONPATH={ROOT} motoko"),
    )

    said = (study / "BD-bd_study-runs/run-1/a.o1").read_text()
    assert "No module named 'BlackDynamite'" in said
    assert "canYouDigIt" not in said


@pytest.mark.slow
def test_the_first_runs_are_launched_or_those_that_are_meant(study: Path) -> None:
    launch = "canYouDigIt runs launch --truerun"
    shell(study, "canYouDigIt init && canYouDigIt jobs create")
    shell(study, "canYouDigIt runs create --run_name toto")

    assert "1 run done, 0 failed" in shell(study, f"{launch} --nruns 1")
    assert "1 run done, 0 failed" in shell(study, f"{launch} --constraints 'param2 = 2'")
    states = "canYouDigIt runs info --infos id,state"
    assert shell(study, states).split()[2:] == [
        "1",
        "FINISHED",
        "2",
        "CREATED",
        "3",
        "FINISHED",
    ]
    assert "no such run is CREATED" in shell(study, f"{launch} --constraints 'param2 = 2'")

    # A launcher that was to begin no run is replaced by one that begins all.
    shell(study, "canYouDigIt launch_daemon --start --nruns 0")
    shell(study, f"{launch} --nruns 1", code=6)
    assert "2 CREATED" in " ".join(shell(study, states).split())
    assert "1 run done, 0 failed" in shell(study, launch)
