"""A time of day that a test sets, back and forth, under all processes that it starts."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_suffix(".c")
HOUR_S = 3600


class Clock:
    """The clock of the processes that are started with `environment`."""

    def __init__(self, directory: Path) -> None:
        """Needs a C compiler; the test is skipped without one."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("there is no C compiler")
        library = directory / "clock.so"
        options = ["-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"]
        subprocess.run([compiler, *map(str, options)], check=True)
        self._file = directory / "clock"
        self._file.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "MOTOKO_TEST_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """So much later than it is, or earlier."""
        with open(self._file, "r+b") as file:
            os.pwrite(file.fileno(), struct.pack("q", seconds), 0)
