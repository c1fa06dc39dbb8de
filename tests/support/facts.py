"""The file by which the launcher tells a run who it is, for tests without a launcher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motoko.job.facts import FORMAT, replace_file
from motoko.job.layout import run_file


def write_facts(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Write the run's file; a reader sees the old one or the new one, never half of it."""
    text = json.dumps({"format": FORMAT, **facts})
    replace_file(run_file(run_dir), text.encode() + b"\n")
