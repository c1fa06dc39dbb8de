"""What a further attempt is told and given, and what is kept of the one before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from motoko.config.sentinels import sentinels_of
from motoko.launch.sentinels import BELIEVED, SAID_FINISHED, entry
from tests.support.launch_session import (
    PYTHON,
    YAML,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for_state,
)
from tests.support.waiting import wait_until

POLICY = (
    YAML
    + """\
mem: 3GB
walltime: 1h
on_failure:
  retry: {application: {attempts: 2, times: {mem: 2, walltime: 1.5}}, then: prune}
"""
)
TELLS = """
import json, os, sys
import motoko
run, job = motoko.get_run()
run.start()
with open(run.file("told"), "w") as file:
    told = {k: v for k, v in os.environ.items() if k.startswith("MOTOKO_LAST")}
    json.dump([told, run.last_attempt, run.entries.get("mem")], file)
if run.attempt < 3:
    run.push_quantity(run.attempt * 1.5, step=run.attempt, name="y")
    print("no", "convergence", file=sys.stderr)
    sys.exit(3)
run.finish()
"""


def told(run_dir: Path) -> Any:
    return json.loads((run_dir / "told").read_text())


def test_a_further_attempt_is_told_of_the_one_before_it_and_given_more(tmp_path: Path) -> None:
    (tmp_path / "tells.py").write_text(TELLS)
    script = f"{PYTHON} {tmp_path}/tells.py || exit 3\n"
    with new_study(tmp_path / "s", script, POLICY) as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        first, second, _ = attempts(study)
        run_dir = study.run_dir(1)
        with study.database.read() as tables:
            quantities, run = tables.quantities(1), tables.run(1)

    assert told(run_dir / "attempt-1") == [{}, None, None]
    variables, last, mem = told(run_dir)
    assert variables == {
        "MOTOKO_LAST_STATE": "FAILED",
        "MOTOKO_LAST_CLASS": "application",
        "MOTOKO_LAST_CAUSE": "exit code 3",
        "MOTOKO_LAST_EXIT_CODE": "3",
        "MOTOKO_LAST_LINES": "no convergence",
    }
    assert (last["number"], last["exit_code"], last["stderr"]) == (2, 3, "no convergence")
    assert mem == "12GB"
    assert [a["given_more"]["mem"] for a in (first, second)] == ["6GB", "12GB"]
    assert run["walltime"] == 8100
    # What the first two computed is in their history and not the run's any more.
    assert quantities == {} and run.get("last_step") is None
    assert [a["quantities"] for a in (first, second)] == [{"y": [1, 1.5]}, {"y": [2, 3.0]}]


def test_the_policy_of_a_run_stands_above_that_of_its_study(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "exit 3\n", POLICY) as study, launching(study):
        create(study, on_failure={"retry": {"application": 1}})
        wait_for_state(study, "FAILED")

        assert len(attempts(study)) == 2
        assert "mem" not in row(study)


WINDOWS = """
import sys
import motoko
for name in ("w0", "w1"):
    with motoko.window(name) as window:
        for segment in window.segments(3):
            if name == "w1" and segment == 2 and window.attempt == 1:
                sys.exit(9)
            with open("ran", "a") as file:
                print(name, segment, file=file)
            with open(window.file(f"md-{segment}.rst"), "w") as file:
                file.write(name)
            window.record(segment, f"md-{segment}.rst")
"""


def test_what_an_attempt_carries_over_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WINDOWS)
    yaml = YAML + "retry: {application: 1}\ncarry_over: ['w*', ran]\n"
    with new_study(tmp_path / "s", f"{PYTHON} {tmp_path}/work.py\n", yaml) as study:
        with launching(study):
            create(study)
            wait_for_state(study, "FINISHED")
        run_dir = study.run_dir(1)

        ran = (run_dir / "ran").read_text().split("\n")[:-1]
        assert ran == ["w0 1", "w0 2", "w0 3", "w1 1", "w1 2", "w1 3"]
        assert (run_dir / "w1/job_attempt.txt").read_text() == "2\n"
        assert (run_dir / "attempt-1/FAILED").exists()
        assert (run_dir / "w1/FINISHED").exists() and not (run_dir / "w1/FAILED").exists()


SENTINELS = (
    YAML
    + """\
retry: {application: 1}
run_params: {place: ''}
sentinels:
  directory: '{place}/{x}'
  windows: [w0, w1]
  failure: [['{window}/nan']]
"""
)


def test_files_that_a_study_declares_say_what_is_finished_and_what_failed(
    tmp_path: Path,
) -> None:
    # Run 1 was finished by somebody else, run 2 fails once although its script ends well, and
    # run 3 leaves no sentinels, which says nothing.
    for name in ("w0", "w1"):
        (tmp_path / "0.0" / name).mkdir(parents=True)
        (tmp_path / "0.0" / name / "FINISHED").touch()
    (tmp_path / "1.0/w1").mkdir(parents=True)
    script = f"""
echo __BLACKDYNAMITE__x__ >> {tmp_path}/ran
[ __BLACKDYNAMITE__x__ != 1.0 ] || [ $MOTOKO_ATTEMPT != 1 ] || touch {tmp_path}/1.0/w1/nan
[ $MOTOKO_ATTEMPT != 2 ] || rm {tmp_path}/1.0/w1/nan
"""
    with new_study(tmp_path / "s", script, SENTINELS) as study, launching(study):
        create(study, 3, place=str(tmp_path))
        wait_for_state(study, "FINISHED", 1, 2, 3)
        (first,), (failed, _), (third,) = (attempts(study, i) for i in (1, 2, 3))

        assert (study.run_dir(1) / "FINISHED").exists()
    assert sorted((tmp_path / "ran").read_text().split()) == ["1.0", "1.0", "2.0"]
    assert first["warnings"] == [BELIEVED]
    assert first["executed"] is False and "executed" not in third
    assert (failed["class"], failed["cause"]) == ("application", "its files say so: w1/nan")
    assert "class" not in third


def test_files_that_a_phase_declares_are_asked_of_the_unit_that_a_run_is(
    tmp_path: Path,
) -> None:
    # The phase samples w0, w1 and w2: w0 was finished before, w1 has failed then, and w2 does
    # so now, which is no fault of w1.
    place = tmp_path / "system {x}"
    for file in ("w0/md.out", "w1/FAILED"):
        (place / "fe" / file).parent.mkdir(parents=True)
        (place / "fe" / file).touch()
    config = {"directory": "fe", "windows": ["w0", "w1", "w2"], "success": ["{window}/md.out"]}
    given = entry(sentinels_of(config), place)
    yaml = "study: s\njob: {window: str}\nretry: 0\nsentinels: true\n"
    script = f"""
echo __BLACKDYNAMITE__window__ >> {tmp_path}/ran
mkdir -p "{place}/fe/__BLACKDYNAMITE__window__"
touch "{place}/fe/__BLACKDYNAMITE__window__"/__BLACKDYNAMITE__leaves__
"""
    with new_study(tmp_path / "s", script, yaml) as study, launching(study):
        for window, leaves in (("w0", "x"), ("w1", "md.out"), ("w2", "FAILED")):
            created = {"sentinels": given, "leaves": leaves}
            study.create_tasks({"window": window}, created, run_name="a", event_name="")
        wait_for_state(study, "FINISHED", 1, 2)
        wait_for_state(study, "FAILED", 3)
        (only,) = attempts(study, 3)

    assert sorted((tmp_path / "ran").read_text().split()) == ["w1", "w2"]
    assert only["cause"] == "its files say so: w2/FAILED"
    assert not (place / "fe/w1/FAILED").exists()


def test_a_directory_of_sentinels_without_a_value_refuses_the_run(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\n", SENTINELS) as study, launching(study):
        create(study, place=None)
        wait_for_state(study, "FAILED")
        (only,) = attempts(study)

    assert only["class"] == "submission"
    assert "{place}" in only["cause"]


def test_sign_of_failure_that_an_earlier_attempt_has_left_says_nothing_of_the_next_one(
    tmp_path: Path,
) -> None:
    # The first attempt leaves run.err, the second one does not touch it; run 2 writes it anew.
    yaml = (
        YAML
        + f"""\
retry: {{application: 1}}
sentinels: {{directory: '{tmp_path}/{{x}}', failure: [['*.err']]}}
"""
    )
    script = f"""
cd {tmp_path}/__BLACKDYNAMITE__x__
[ $MOTOKO_ATTEMPT = 2 -a __BLACKDYNAMITE__x__ = 0.0 ] || echo no >>run.err
[ $MOTOKO_ATTEMPT = 2 ]
"""
    for name in ("0.0", "1.0"):
        (tmp_path / name).mkdir()
    with new_study(tmp_path / "s", script, yaml) as study, launching(study):
        create(study, 2)
        wait_for_state(study, "FINISHED", 1)
        wait_for_state(study, "FAILED", 2)
        causes = [[a.get("cause") for a in attempts(study, run_id)] for run_id in (1, 2)]

    said = "its files say so: run.err"
    assert causes == [["exit code 1", None], ["exit code 1", said]]


DT_WINDOWS = """
import motoko
with motoko.running() as (run, job):
    with motoko.window("w0") as window:
        for segment in window.segments(2):
            with open("ran", "a") as file:
                print(run.attempt, segment, run.dt, file=file)
            window.record(segment)
            if run.attempt == 2:
                raise ValueError("half done")
    run.norm = run.dt
    run.dt = run.dt
"""
DT = "study: s\njob: {x: float}\nrun: {dt: float, norm: float}\nretry: 0\n"
CARRIED = DT + "carry_over: ['w*', ran]\n"


def test_what_was_left_for_other_values_is_not_carried_over(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(DT_WINDOWS)
    script = f"{PYTHON} {tmp_path}/work.py\n"
    with new_study(tmp_path / "s", script, CARRIED) as study, launching(study):
        create(study, dt=0.1)
        wait_for_state(study, "FINISHED")
        study.update_run(1, {"dt": 0.5, "set_by_hand": {"dt": 0.1}, "state": "CREATED"})
        wait_for_state(study, "FAILED")
        study.update_run(1, {"state": "CREATED"})
        wait_for_state(study, "FINISHED")
        ran = (study.run_dir(1) / "ran").read_text().splitlines()
        second, third = attempts(study)[1:]

    # With the same values it goes on from the last segment, also of an attempt with results.
    assert ran == ["2 1 0.5", "3 2 0.5"]
    assert second["warnings"] == ["nothing is carried over to it: runs.dt 0.1 -> 0.5"]
    assert "warnings" not in third


def test_what_a_script_has_set_is_no_other_value(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(DT_WINDOWS.replace("run.dt = run.dt", "run.dt /= 2"))
    script = f"{PYTHON} {tmp_path}/work.py\n"
    with new_study(tmp_path / "s", script, CARRIED) as study, launching(study):
        create(study, dt=0.1)
        wait_for_state(study, "FINISHED")
        study.update_run(1, {"norm": None, "state": "CREATED"})
        wait_for_state(study, "FINISHED")
        ran = (study.run_dir(1) / "ran").read_text().splitlines()

    assert ran == ["1 1 0.1", "1 2 0.1"]


@pytest.mark.slow
def test_window_outside_of_the_run_directory_begins_afresh_with_other_values(
    tmp_path: Path,
) -> None:
    work = DT_WINDOWS.replace('"w0"', f'"{tmp_path}/w0"').replace('"ran"', f'"{tmp_path}/ran"')
    (tmp_path / "work.py").write_text(work)
    script = f"{PYTHON} {tmp_path}/work.py\n"
    with new_study(tmp_path / "s", script, DT) as study, launching(study):
        create(study, dt=0.1)
        wait_for_state(study, "FINISHED")
        study.update_run(1, {"dt": 0.5, "set_by_hand": {"dt": 0.1}, "state": "CREATED"})
        wait_for_state(study, "FAILED")
        # Another run goes on with what is there.
        study.create_tasks({"x": 1.0}, {"dt": 0.7}, run_name="r", event_name="")
        wait_for_state(study, "FINISHED", 2)
        study.update_run(1, {"state": "CREATED"})
        wait_for_state(study, "FINISHED")
        ran = (tmp_path / "ran").read_text().splitlines()

    assert ran == ["1 1 0.1", "1 2 0.1", "2 1 0.5", "1 2 0.7"]


MADE_FOR = DT + "sentinels: {directory: PLACE, success: [[out, more]]}\n"
MAKES = """
echo __BLACKDYNAMITE__dt__ >> {0}/ran
echo __BLACKDYNAMITE__dt__ > {0}/out
[ ! -e {0}/bad ] || exit 3
touch {0}/more
"""


def test_files_that_were_made_for_other_values_do_not_say_that_work_is_finished(
    tmp_path: Path,
) -> None:
    place = tmp_path / "work"
    place.mkdir()
    (place / "job_progress.jsonl").touch()

    def made(study: Any, name: str, dt: float) -> Any:
        [run_id] = study.create_tasks({"x": 1}, {"dt": dt}, run_name=name, event_name="")
        wait_for_state(study, "FAILED" if (place / "bad").exists() else "FINISHED", run_id)
        [only] = attempts(study, run_id)
        return only.get("warnings")

    yaml = MADE_FOR.replace("PLACE", str(place))
    with new_study(tmp_path / "s", MAKES.format(place), yaml) as study, launching(study):
        assert made(study, "a", 0.1) is None
        assert made(study, "b", 0.1) == [SAID_FINISHED]
        assert (place / "job_progress.jsonl").exists()
        (place / "bad").touch()
        [told] = made(study, "c", 0.5)
        (place / "bad").unlink()
        # One of its files is still as it was when the other was written anew.
        assert made(study, "d", 0.5) is None
        assert made(study, "e", 0.5) == [SAID_FINISHED]

    assert told.endswith("made for other values do not count: runs.dt 0.1 -> 0.5")
    assert (place / "ran").read_text().split() == ["0.1", "0.5", "0.5"]
    assert not (place / "job_progress.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "ran"),
    [({"dt": 0.5, "set_by_hand": {"dt": 0.1}}, ["0.1", "0.5"]), ({}, ["0.1"])],
)
def test_a_value_that_was_set_counts_though_the_run_directory_is_gone(
    tmp_path: Path, changes: dict[str, Any], ran: list[str]
) -> None:
    place = tmp_path / "work"
    place.mkdir()
    yaml = MADE_FOR.replace("PLACE", str(place))
    with new_study(tmp_path / "s", MAKES.format(place), yaml) as study, launching(study):
        [run_id] = study.create_tasks({"x": 1}, {"dt": 0.1}, run_name="a", event_name="")
        wait_for_state(study, "FINISHED", run_id)
        study.run_dir(run_id).rename(tmp_path / "cleaned")

        again = {"state": "CREATED", **changes}
        study.database.write(lambda tables: tables.update_run(run_id, again))
        wait_until(lambda: len(attempts(study, run_id)) == 2)
        wait_for_state(study, "FINISHED", run_id)

    assert (place / "ran").read_text().split() == ran
