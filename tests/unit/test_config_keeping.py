"""What is kept of files without mistakes, and when it holds."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from motoko import config as reading
from motoko.config import (
    FileConfig,
    StudyConfig,
    WorkflowConfig,
    examine_study,
    glimpse_workflow,
    keeping,
    read_study,
    read_workflow,
)
from motoko.errors import ConfigError
from motoko.paths import STUDY_DATABASE, STUDY_STATE, WORKFLOW_DATABASE, WORKFLOW_STATE

ROOT = Path(__file__).parents[2]
WORKFLOW = """\
task_managers: {one: {host: "zeo://node:8000", colour: red}, two: }
orchestrator: flow.main
aliases: {first: one}
max_concurent: 3
own: {1: [.nan, 2.5], key: [x, {y: 1e-3}]}
pipeline:
  steps: {one: {job: {x: [1, 2]}, sentinels: {success: [done]}}, two: {requires: one}}
  systems: {directory: systems}
  on_failure: {retry: {attempts: 2, then: prune}}
"""
STUDY = """\
study: one
job: {X: {type: int, default: 3}, y: list, z: float}
job_space: {X: "range(3)", z: 1e-3}
run_params: {walltime: 1h, note: text}
retry: {walltime: {attempts: 2, times: {walltime: 2}}, delay: 3}
checkpoint_signal: B:USR1@60
sentinels: {components: [a], success: ["{component}.{window}.done"], windows: {a: [1, 2]}}
slurm_options: [--exclusive]
waltime: 3
"""


@pytest.fixture
def workflow_dir(tmp_path: Path) -> Path:
    """A directory with ``motoko.yaml`` and what is kept beside it."""
    (tmp_path / WORKFLOW_STATE).mkdir()
    (tmp_path / WORKFLOW_STATE / WORKFLOW_DATABASE).touch()
    (tmp_path / "motoko.yaml").write_text(WORKFLOW)
    return tmp_path


@pytest.fixture
def study_dir(workflow_dir: Path) -> Path:
    """A study in it."""
    (workflow_dir / "one" / STUDY_STATE).mkdir(parents=True)
    (workflow_dir / "one" / STUDY_STATE / STUDY_DATABASE).touch()
    (workflow_dir / "one" / "bd.yaml").write_text(STUDY)
    return workflow_dir / "one"


def kept_study(study_dir: Path) -> Path:
    """What is kept of its file."""
    return study_dir / STUDY_STATE / "bd.yaml.read"


def everything(config: FileConfig) -> str:
    """All that a configuration says, nested values and nan included."""
    return repr((config, sorted(vars(config).items()), config.options))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were checked, which those are not that were recalled."""
    from motoko.config import examination

    found: list[str] = []
    examine = examination._examine

    def noted(kind, file, *others):
        found.append(file.name)
        return examine(kind, file, *others)

    monkeypatch.setattr(examination, "_examine", noted)
    return found


@pytest.mark.parametrize(
    ("read", "place"), [(read_workflow, "."), (read_study, "one")], ids=["workflow", "study"]
)
def test_what_is_recalled_says_what_was_read(study_dir, checked, read, place):
    first = read(study_dir.parent / place)

    second = read(study_dir.parent / place)

    assert len(checked) == 1
    assert everything(second) == everything(first)
    assert second.warnings


def test_keys_of_ones_own_are_attributes_each_time(workflow_dir):
    for _ in range(2):
        config = read_workflow(workflow_dir)

        assert config.task_managers["one"].colour == "red"
        assert config.own is config["own"]
        assert not hasattr(config, "nobodys")


def test_a_workflow_is_glimpsed_without_checking_it_anew(workflow_dir, checked):
    first, _ = glimpse_workflow(workflow_dir)

    second, mistakes = glimpse_workflow(workflow_dir)

    assert (checked, mistakes) == (["motoko.yaml"], ())
    assert everything(second) == everything(first)


def test_a_study_without_a_workflow_is_recalled_as_one(tmp_path, checked):
    (tmp_path / STUDY_STATE).mkdir()
    (tmp_path / STUDY_STATE / STUDY_DATABASE).touch()
    (tmp_path / "bd.yaml").write_text(STUDY)
    study = read_study(tmp_path)

    workflow = read_workflow(tmp_path)

    assert checked == ["bd.yaml"]
    assert workflow.is_alone
    assert list(workflow.task_managers) == [study.study]
    assert workflow == study._raw


def test_warnings_name_the_file_as_the_reader_does(study_dir, monkeypatch):
    read_study(study_dir)
    monkeypatch.chdir(study_dir.parent)

    config = read_study(Path("one"))

    assert [str(w).partition(" ")[0] for w in config.warnings] == ["one/bd.yaml:9:"]
    assert config.file == study_dir / "bd.yaml"


def test_a_changed_file_is_checked_again(study_dir, checked):
    read_study(study_dir)
    (study_dir / "bd.yaml").write_text(STUDY.replace("delay: 3", "delay: 4"))

    assert read_study(study_dir).retry.delay_s == 4
    assert len(checked) == 2


def test_a_study_is_checked_again_when_it_is_no_longer_alone(study_dir, checked):
    (study_dir / "bd.yaml").write_text(STUDY + "host: zeo://node:80\n")
    found = len(read_study(study_dir).warnings)
    (study_dir.parent / "motoko.yaml").unlink()

    alone = read_study(study_dir)

    assert len(alone.warnings) == found - 1
    assert len(checked) == 2


def test_a_mistake_is_found_every_time(study_dir, checked):
    read_study(study_dir)
    (study_dir / "bd.yaml").write_text(STUDY.replace("job: {", "job: {w: flot, "))

    for _ in range(2):
        with pytest.raises(ConfigError, match="did you mean 'float'"):
            read_study(study_dir)

    assert len(checked) == 3


@pytest.mark.parametrize("what", ["code", "pydantic", "Python"])
def test_what_other_code_has_read_is_checked_again(study_dir, checked, monkeypatch, what):
    read_study(study_dir)
    keeping._code.cache_clear()
    if what == "Python":
        monkeypatch.setattr(sys, "version", "another")
    else:
        name = {"code": "checks.py", "pydantic": "version.py"}[what]
        read_bytes = Path.read_bytes

        def changed(file: Path) -> bytes:
            return read_bytes(file) + (b"#" if file.name == name else b"")

        monkeypatch.setattr(Path, "read_bytes", changed)

    read_study(study_dir)
    keeping._code.cache_clear()

    assert len(checked) == 2


@pytest.mark.slow
def test_no_damage_is_an_error_or_a_wrong_result(study_dir, checked):
    right = everything(read_study(study_dir))
    kept = kept_study(study_dir)
    whole = kept.read_bytes()
    damaged = [whole[:n] for n in range(0, len(whole), 97)]
    damaged += [
        bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]])
        for place in range(0, len(whole), 53)
    ]
    damaged += [whole + b"\0", whole + whole, b"\0" * len(whole)]

    for content in damaged:
        kept.write_bytes(content)
        assert everything(read_study(study_dir)) == right

    assert len(checked) == 1 + len(damaged)
    assert kept.read_bytes() == whole


def test_nothing_but_configurations_is_made_of_what_is_kept(study_dir, monkeypatch):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(study_dir / "harm"),)

    config = examine_study(study_dir).without_mistakes()
    monkeypatch.setitem(vars(config), "own", Harmful())

    keeping.keep(config)
    found = keeping.recalled(StudyConfig, study_dir / "bd.yaml")

    assert b"mkdir" in kept_study(study_dir).read_bytes()
    assert found is None
    assert not (study_dir / "harm").exists()


def test_what_somebody_else_has_kept_is_not_believed(study_dir, checked, monkeypatch):
    read_study(study_dir)
    monkeypatch.setattr(os, "getuid", lambda: 12345)

    read_study(study_dir)

    assert len(checked) == 2


def test_reading_makes_no_directory(tmp_path):
    (tmp_path / "motoko.yaml").write_text(WORKFLOW)

    read_workflow(tmp_path)

    assert [file.name for file in tmp_path.iterdir()] == ["motoko.yaml"]


def test_nothing_is_written_beside_the_database_of_another_program(tmp_path):
    (tmp_path / STUDY_STATE).mkdir()
    (tmp_path / STUDY_STATE / "bd.zeo").touch()
    (tmp_path / "bd.yaml").write_text(STUDY)

    read_study(tmp_path)

    assert [file.name for file in (tmp_path / STUDY_STATE).iterdir()] == ["bd.zeo"]


def test_what_cannot_be_kept_is_no_error(study_dir, checked, monkeypatch):
    def full(file: Path, content: bytes) -> int:
        file.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    for _ in range(2):
        assert read_study(study_dir).study == "one"

    assert len(checked) == 2
    assert [file.name for file in (study_dir / STUDY_STATE).iterdir()] == [STUDY_DATABASE]


def test_values_that_are_no_plain_ones_are_checked_each_time(study_dir, checked):
    (study_dir / "bd.yaml").write_text(STUDY + "day: !!timestamp 2024-01-31\n")

    found = [read_study(study_dir)["day"].year for _ in range(2)]

    assert found == [2024, 2024]
    assert len(checked) == 2


def test_neither_pydantic_nor_yaml_is_imported_for_what_is_kept(study_dir):
    read_study(study_dir), read_workflow(study_dir.parent)
    code = (
        "import sys; from pathlib import Path\n"
        "from motoko.config import read_study, read_workflow\n"
        "print(read_study(Path('one')).study, *read_workflow(Path()).task_managers)\n"
        "print(*{'pydantic', 'pydantic_core', 'yaml'} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=study_dir.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout.split("\n") == ["one one two", "", ""], done.stderr


def test_every_module_that_decides_on_what_is_found_is_told_apart():
    code = (
        "import sys, motoko.config.examination\n"
        "print(*(m for m in sys.modules if m.startswith('motoko.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    imported = {name.split(".")[1] for name in done.stdout.split()}

    known = {name.removesuffix(".py") for name in keeping._MODULES}

    assert imported - known == {"config", "errors"}  # an error says what it is given


def test_what_is_kept_can_be_pickled_by_others_too(workflow_dir):
    read_workflow(workflow_dir)

    config = read_workflow(workflow_dir)

    assert isinstance(config, WorkflowConfig)
    assert everything(pickle.loads(pickle.dumps(config))) == everything(config)
    assert reading.UNSET is pickle.loads(pickle.dumps(reading.UNSET))
