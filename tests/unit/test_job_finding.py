"""Where a script finds its run, which files it gets, and how it calls the launcher."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import motoko
from motoko.errors import JobSideError
from motoko.job.facts import read_facts
from motoko.job.journal import list_journals, read_journal
from motoko.job.layout import error_file, output_file, run_file
from motoko.job.record import Run
from tests.support.facts import write_facts

FACTS: dict[str, Any] = {
    "study": "mult",
    "run_id": 3,
    "job_id": 2,
    "attempt": 1,
    "nonce": "n",
}


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MOTOKO_RUN_DIR", "MOTOKO_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "run-3"
    directory.mkdir()
    write_facts(directory, FACTS)
    return directory


def ops(run_dir: Path) -> list[str]:
    (path,) = list_journals(run_dir, 1)
    return [entry["op"] for entry in read_journal(path, 0, "n").entries]


def get(run_dir: Path) -> Run:
    return motoko.get_run(str(run_dir))[0]


class TestFiles:
    def test_file_is_a_path_in_the_run_directory(self, run_dir: Path) -> None:
        run = get(run_dir)

        assert run.file("u.npz") == run_dir / "u.npz"
        assert run.file("a/../b/c") == run_dir / "b" / "c"
        assert run.getFullFileName("u.npz") == run.getFile("u.npz") == str(run_dir / "u.npz")

    @pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/passwd"])
    def test_file_outside_is_refused(self, run_dir: Path, name: str) -> None:
        with pytest.raises(ValueError, match="not inside the directory of run 3"):
            get(run_dir).file(name)

    def test_files_are_listed_without_those_of_motoko(self, run_dir: Path) -> None:
        run = get(run_dir)
        run.start()
        (run_dir / "sub").mkdir()
        (run_dir / "sub" / "b").touch()
        (run_dir / "a").touch()

        assert (run.listFiles(), run.listFiles("sub")) == (["a", "sub"], ["b"])

    def test_names_of_output_files_are_safe(self) -> None:
        assert output_file("/r", "first", 3) == "/r/first.o3"
        assert error_file("/r", "../a b/é", 3) == "/r/_._a_b_é.e3"


class TestFinding:
    def test_environment_says_where_the_run_is(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOTOKO_RUN_DIR", str(run_dir))
        monkeypatch.setenv("MOTOKO_ATTEMPT", "1")

        assert motoko.get_run()[0].run_path == str(run_dir)

    def test_without_it_the_nearest_run_directory_upward_is_taken(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (run_dir / "a" / "b").mkdir(parents=True)
        monkeypatch.chdir(run_dir / "a" / "b")

        assert motoko.get_run()[0].run_path == str(run_dir)

    def test_outside_of_a_run_the_error_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        with pytest.raises(JobSideError, match=f"this is not a run: .*{tmp_path}"):
            motoko.get_run()

    def test_script_of_an_earlier_attempt_does_not_speak_for_this_one(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOTOKO_RUN_DIR", str(run_dir))
        monkeypatch.setenv("MOTOKO_ATTEMPT", "1")
        write_facts(run_dir, {**FACTS, "attempt": 2})

        with pytest.raises(JobSideError, match=r"belongs to attempt 1 .* at attempt 2 now"):
            motoko.get_run()

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("{torn", "is damaged"),
            ("[]", "holds no mapping"),
            ('{"format": 99}', "has format 99"),
            ('{"format": 1, "study": 3}', "study, run_id, job_id, attempt, nonce missing"),
        ],
    )
    def test_damaged_run_file_is_named(self, run_dir: Path, text: str, why: str) -> None:
        Path(run_file(run_dir)).write_text(text)

        with pytest.raises(JobSideError, match=why) as caught:
            motoko.get_run(str(run_dir))
        assert run_file(run_dir) in str(caught.value)

    def test_run_file_is_on_disk_before_it_has_its_name(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = []
        replace = os.replace
        monkeypatch.setattr(os, "fsync", lambda fd: order.append("sync"))
        monkeypatch.setattr(os, "replace", lambda *a: (order.append("name"), replace(*a)))

        write_facts(run_dir, {**FACTS, "attempt": 2})

        assert (order, read_facts(run_dir)["attempt"]) == (["sync", "name", "sync"], 2)
        assert os.listdir(run_dir) == [".motoko-run.json"]

    def test_directory_without_run_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(JobSideError, match=f"{tmp_path} is not a run directory"):
            read_facts(tmp_path)


class TestKnocking:
    @pytest.fixture
    def door(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.bind(str(tmp_path / "k"))
            door.setblocking(False)
            yield door

    def heard(self, door: socket.socket) -> list[dict[str, Any]]:
        messages = []
        while True:
            try:
                messages.append(json.loads(door.recv(4096)))
            except BlockingIOError:
                return messages

    def test_it_knocks_at_once_or_every_half_second(
        self, run_dir: Path, tmp_path: Path, door: socket.socket
    ) -> None:
        times = [0.0]
        facts = {**FACTS, "knock": str(tmp_path / "k")}
        run = Run(str(run_dir), facts, clock=lambda: times[0])
        who = {"study": "mult", "run": 3, "attempt": 1, "nonce": "n"}

        def after(action: Any, *args: Any) -> int:
            action(*args)
            messages = self.heard(door)
            told = [{k: v for k, v in one.items() if k != "journal"} for one in messages]
            assert told == [who] * len(messages)
            names = {str(one["journal"]) for one in messages}
            assert all((run_dir / name).is_file() for name in names)
            return len(messages)

        assert after(run.start) == 1
        assert after(run.push_quantity, 1, 1, "q") == 1
        assert after(run.push_quantity, 1, 2, "q") == 0
        assert after(setattr, run, "y", 1) == 0
        times[0] = 0.49
        assert after(run.push_quantity, 1, 3, "q") == 0
        times[0] = 0.5
        assert after(run.push_quantity, 1, 4, "q") == 1
        times[0] = 1.0
        assert after(setattr, run, "y", 2) == 1
        assert after(run.finish) == 1

    def test_full_queue_does_not_block(
        self, run_dir: Path, tmp_path: Path, door: socket.socket
    ) -> None:
        facts = {**FACTS, "knock": str(tmp_path / "k")}
        run = Run(str(run_dir), facts)

        for i in range(2000):
            run.push_quantity(i, i, f"q{i % 500}")
            run._knocker.knock()
        run.finish()

        assert 0 < len(self.heard(door)) < 2000

    @pytest.mark.parametrize("path", ["", "/nowhere/at/all", "/tmp/" + "x" * 200])
    def test_nobody_listening_is_no_error(self, run_dir: Path, path: str) -> None:
        run = Run(str(run_dir), {**FACTS, "knock": path})

        run.start()
        run.finish()

        assert ops(run_dir) == ["start", "finish"]


@pytest.mark.parametrize("is_its_own", [True, False])
def test_a_script_finds_its_run_where_the_directory_is_by_now(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, is_its_own: bool
) -> None:
    named = run_dir if is_its_own else run_dir.with_name("run-4")
    write_facts(run_dir, {**FACTS, "run_path": str(run_dir)})
    monkeypatch.setenv("MOTOKO_RUN_DIR", str(named))
    monkeypatch.setenv("MOTOKO_ATTEMPT", "1")
    monkeypatch.chdir(run_dir)
    moved = run_dir.rename(run_dir.with_name("moved"))

    if is_its_own:
        assert motoko.get_run()[0].file("u") == moved / "u"
    else:
        with pytest.raises(JobSideError, match="run-4 is not a run directory"):
            motoko.get_run()
