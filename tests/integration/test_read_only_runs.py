"""Scripts that cannot write, since the place of their run has become read-only for a while."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.launch_session import (
    YAML,
    attempts,
    create,
    launching,
    new_study,
    wait_for,
    wait_for_state,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

#: The shell that executes it cannot leave its outcome then.
TURNED = """
[[ $MOTOKO_ATTEMPT == 1 ]] || exit 0
here=$(dirname "$(pwd -P)")
mount --bind "$here" "$here" && mount -o remount,bind,ro "$here" || exit 0
exit 1
"""


def test_a_script_that_ends_in_a_read_only_directory_is_tried_again(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", TURNED, YAML + "retry: {infrastructure: 1}\n") as study:
        try:
            with launching(study):
                create(study)
                wait_for(study, lambda: any("class" in a for a in attempts(study)))
                subprocess.run(["umount", "-l", study.runs_dir], check=True)
                wait_for_state(study, "FINISHED")
        finally:
            subprocess.run(["umount", "-l", study.runs_dir], stderr=subprocess.DEVNULL)

        first, second = attempts(study)
        assert (first["class"], second["state"]) == ("infrastructure", "FINISHED")
        assert first["cause"] == "exit code 1, with its directory read-only"
