"""Writes the pages that follow from the code: ``python -m docs.generate [--check]``.

With ``--check`` nothing is written, and the exit code is 1 when a page is not as it should be.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from docs.generator.batch_systems import batch_systems_page
from docs.generator.command_line import command_line_page
from docs.generator.durability import durability_page
from docs.generator.parts import artifacts_page, batch_page, pipelines_page, systems_page
from docs.generator.python_names import job_side_page, workflow_api_page
from docs.generator.tables import errors_page, states_page
from docs.generator.yaml_files import study_page, workflow_page

REFERENCE = Path(__file__).parent / "reference"

PAGES = {
    "motoko-yaml.md": workflow_page,
    "bd-yaml.md": study_page,
    "states.md": states_page,
    "errors.md": errors_page,
    "command-line.md": command_line_page,
    "python-api.md": workflow_api_page,
    "job-side.md": job_side_page,
    "artifacts.md": artifacts_page,
    "systems.md": systems_page,
    "batch.md": batch_page,
    "batch-systems.md": batch_systems_page,
    "pipelines.md": pipelines_page,
}
EXPLANATION = {"durability.md": durability_page}


def generated() -> Mapping[Path, str]:
    """All pages with their content."""
    explanation = REFERENCE.parent / "explanation"
    return {
        **{REFERENCE / name: make() for name, make in PAGES.items()},
        **{explanation / name: make() for name, make in EXPLANATION.items()},
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or only compare them; the exit code."""
    stale = {
        file: text
        for file, text in generated().items()
        if not file.exists() or file.read_text() != text
    }
    for file, text in stale.items():
        if "--check" not in arguments:
            file.write_text(text)
        sys.stdout.write(f"{file.relative_to(REFERENCE.parents[1])}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
