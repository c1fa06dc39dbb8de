"""The batch systems that tests run on."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.support.fake_scheduler import Fake, install


def test_a_job_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    install(tmp_path / "system", "slurm")
    fake = Fake(tmp_path / "system")
    (fake.place / "held").touch()
    is_over = threading.Event()

    def submit() -> None:
        for i in range(300):
            fake.begin(f"{i % 10}", "motoko-s-1-1-x", "true\n", None)
            fake.tell(f"{i % 10}", "PENDING")
        is_over.set()

    thread = threading.Thread(target=submit)
    thread.start()
    states = set()
    while not is_over.is_set():
        states |= {state for _, _, state, _ in fake.jobs()}
    thread.join()

    assert states <= {"PENDING"}
