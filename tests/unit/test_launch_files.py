"""What the launcher reads in run directories, and the directory that scripts import from."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from motoko.host import process_start_time
from motoko.job.holders import end_holders, find_holders, is_held
from motoko.job.journal import Journal, encode
from motoko.job.token import take_token, token_facts
from motoko.job.verdict import verdict, warning
from motoko.launch.environment import make_names_dir, make_python_dir
from motoko.launch.reading import TAIL_BYTES, Reading, last_lines

NONCE = "abc"


def journal(directory: Path, name: str, *entries: dict[str, object]) -> None:
    with open(directory / f".motoko-journal-1-{name}", "ab") as file:
        for entry in entries:
            file.write(encode({"n": NONCE, **entry}))


def test_entries_come_by_time_from_all_journals_and_only_once(tmp_path: Path) -> None:
    reading = Reading(str(tmp_path), 1, NONCE)
    journal(tmp_path, "a", {"t": 1, "op": "start"}, {"t": 4, "op": "finish"})
    journal(tmp_path, "b", {"t": 3, "op": "set", "name": "x", "value": 1})
    journal(tmp_path, "b", {"t": 5, "op": "fail", "n": "another"})

    assert [e["t"] for e in reading.read()] == [1, 3, 4]
    assert reading.read() == []
    journal(tmp_path, "b", {"t": 2, "op": "set", "name": "x", "value": 2})
    # The clock was set back: written later.
    assert [(e["t"], e["value"]) for e in reading.read()] == [(3, 2)]
    assert reading.said.final_word is not None and reading.said.final_word["op"] == "finish"


def test_entries_that_were_recorded_before_are_known_but_no_news(tmp_path: Path) -> None:
    journal(tmp_path, "a", {"t": 1, "op": "start"}, {"t": 2, "op": "set", "name": "x"})
    first = Reading(str(tmp_path), 1, NONCE)
    first.read()
    journal(tmp_path, "a", {"t": 3, "op": "set", "name": "y"})

    second = Reading(str(tmp_path), 1, NONCE, folded=first.offsets)

    assert [e["t"] for e in second.read()] == [3]
    assert second.said.own_state == "RUNNING"
    assert second.read() == []


def test_only_a_last_reading_takes_tables_that_no_journal_names(tmp_path: Path) -> None:
    for name in ("q", "given", ".hidden"):
        (tmp_path / f"{name}.csv").write_text(f"step[int],{name}[float]\n3,1.5\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    reading = Reading(str(tmp_path), 1, NONCE, inputs={"given.csv"})

    reading.read()
    assert reading.last_values == {}
    reading.read(is_last=True)
    assert reading.last_values == {"q": (3, 1.5)}
    assert reading.last_step is not None and reading.last_step[0] == 3


def test_damage_is_told_and_a_directory_that_is_gone_has_nothing(tmp_path: Path) -> None:
    (tmp_path / ".motoko-journal-1-x").write_bytes(b"00000000 {}\n" * 50)
    reading = Reading(str(tmp_path), 1, NONCE)
    reading.read()
    assert 0 < len(reading.damage) <= 10

    assert Reading(str(tmp_path / "gone"), 1, NONCE).read() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
OPS = st.sampled_from(["start", "finish", "fail", "set", "quantity"])
ENTRIES = st.fixed_dictionaries(
    {"n": st.just(NONCE), "t": st.floats() | st.integers(), "op": OPS},
    optional={"name": JSON | st.just("state"), "value": JSON, "reason": JSON},
)
LINES = st.lists(ENTRIES.map(lambda e: f"- {json.dumps(e)}".encode()) | st.binary(max_size=60))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(LINES)
@example([b'- {"n":"abc","op":"finish","t":1' + b"0" * 400 + b"}"])
@example([b'- {"n":"abc","op":"finish","t":Infinity}'])
@example([b"- " + b"[" * 5000])
@example([b'- {"n":"abc","op":"quantity","t":1,"name":"\\u0000"}'])
def test_a_journal_may_hold_anything(lines: list[bytes]) -> None:
    with TemporaryDirectory() as directory:
        Path(directory, ".motoko-journal-1-x").write_bytes(b"\n".join([*lines, b""]))
        reading = Reading(directory, 1, NONCE)
        reading.read(is_last=True)

    state, cause = verdict(reading.said, 0)
    assert isinstance(state, str) and isinstance(cause, str | None)
    assert reading.said.final_word is None or math.isfinite(float(reading.said.final_word["t"]))
    assert warning(reading.said, 1) is None or state != "FAILED"


def test_another_attempts_journal_is_not_read(tmp_path: Path) -> None:
    Journal(tmp_path, 11, NONCE).append("finish")
    reading = Reading(str(tmp_path), 1, NONCE)

    assert reading.read() == []
    assert len(Reading(str(tmp_path), 11, NONCE).read()) == 1


def test_the_last_lines_are_bounded_in_lines_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "e"
    file.write_text("".join(f"{i}\n" for i in range(100)))
    assert last_lines(str(file)).splitlines() == [str(i) for i in range(80, 100)]

    file.write_bytes(b"\xff" * 3 * TAIL_BYTES)
    assert len(last_lines(str(file))) == TAIL_BYTES
    assert last_lines(str(tmp_path / "none")) == ""


def test_the_python_directory_holds_this_package_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "python"
    make_python_dir(directory)
    make_python_dir(directory)

    assert os.listdir(directory) == ["motoko"]
    command = [sys.executable, "-S", "-c", "import motoko; print(motoko.__version__)"]
    environment = {"PYTHONPATH": str(directory)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def test_a_link_to_another_place_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "motoko").symlink_to("/nowhere")
    make_python_dir(tmp_path)

    assert (tmp_path / "motoko" / "host.py").is_file()


def test_a_link_that_was_followed_when_the_workflow_was_copied_is_a_link_again(
    tmp_path: Path,
) -> None:
    made, copied = tmp_path / "made", tmp_path / "copied"
    make_python_dir(made / "python")
    make_names_dir(made / "names")
    shutil.copytree(made, copied, ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "python" / "motoko" / "host.py").unlink()

    make_python_dir(copied / "python")
    make_names_dir(copied / "names")

    for link in ("python/motoko", "names/BlackDynamite"):
        assert (copied / link).readlink() == (made / link).readlink()
        assert [file.name for file in (copied / link).parent.glob(".*")] == []
    assert (copied / "python" / "motoko" / "host.py").is_file()


def test_processes_that_inherited_a_token_are_found_and_readers_are_not(tmp_path: Path) -> None:
    fd = take_token(tmp_path, 1, token_facts(NONCE, "g"))
    assert fd is not None
    with open(tmp_path / ".motoko-token-1") as reader:
        holder = subprocess.Popen(["sleep", "60"], pass_fds=(fd,))
        bystander = subprocess.Popen(["sleep", "60"], pass_fds=(reader.fileno(),))
    os.close(fd)

    assert find_holders(str(tmp_path), 1) == [holder.pid]
    assert end_holders(str(tmp_path), 1) == 1
    assert holder.wait() == -9
    assert not is_held(tmp_path, 1)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def closed(run_dir: Path, attempt: int, cwd: Path) -> subprocess.Popen[bytes]:
    """A process of an attempt that has not inherited its token."""
    told = {"MOTOKO_RUN_DIR": str(run_dir), "MOTOKO_ATTEMPT": str(attempt)}
    environment = {**os.environ, **told}
    command = ["sleep", "60"]
    return subprocess.Popen(command, start_new_session=True, env=environment, cwd=cwd)


def begun(run_dir: Path, attempt: int, pid: int) -> None:
    """Leave the token of an attempt whose shell was this process."""
    fd = take_token(run_dir, attempt, token_facts(NONCE, "g"))
    assert fd is not None
    started = f"started {pid} 5.0 {process_start_time(pid)}\n"
    os.write(fd, started.encode())
    os.close(fd)


def test_processes_that_closed_the_token_are_found_by_their_group(tmp_path: Path) -> None:
    run_dir = tmp_path / "run-3"
    run_dir.mkdir()
    with closed(run_dir, 1, tmp_path) as kin, closed(run_dir, 2, run_dir) as other:
        begun(run_dir, 1, kin.pid)
        begun(run_dir, 3, other.pid)  # the number is another process's by now

        assert (is_held(run_dir, 1), is_held(run_dir, 3)) == (True, False)
        assert (find_holders(str(run_dir), 1), find_holders(str(run_dir), 3)) == ([kin.pid], [])
        assert end_holders(str(run_dir), 1) == 1
        assert kin.wait() == -9
        assert not is_held(run_dir, 1)
        assert other.poll() is None
        other.kill()


def test_a_copy_of_a_run_directory_is_none_of_a_process_that_works_in_the_original(
    tmp_path: Path,
) -> None:
    run_dir, moved = tmp_path / "s" / "run-3", tmp_path / "moved" / "run-3"
    run_dir.mkdir(parents=True)
    with closed(run_dir, 1, run_dir) as kin:
        begun(run_dir, 1, kin.pid)
        shutil.copytree(run_dir, tmp_path / "copied" / "run-3")
        run_dir.parent.rename(moved.parent)
        shutil.copytree(moved, run_dir)

        places = (moved, run_dir, tmp_path / "copied" / "run-3")
        assert [is_held(place, 1) for place in places] == [True, False, False]
        kin.kill()
