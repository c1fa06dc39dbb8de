"""From a workflow's files to what they say, and to its studies."""

from __future__ import annotations

from pathlib import Path

from motoko.config import WorkflowConfig, glimpse_workflow, read_study, read_workflow
from motoko.errors import Mistake
from motoko.study.study import Study


def read(filename: str, *, may_be_wrong: bool) -> tuple[WorkflowConfig, tuple[Mistake, ...]]:
    """What ``motoko.yaml`` says, and the mistakes in it; ConfigError unless it may be wrong."""
    if may_be_wrong:
        return glimpse_workflow(Path(filename))
    return read_workflow(Path(filename)), ()


def load_study(config: WorkflowConfig, name: str) -> Study:
    """The study of a task manager; ConfigError with the mistakes in its file."""
    return Study(
        read_study(config.study_dir(name)),
        name,
        host=config.host_of(name),
        workflow_file=config.file,
        certificates=config.certificates_for(name),
    )
