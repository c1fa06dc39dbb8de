"""Both YAML files as models: what they accept, and what they hand on."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from motoko.config import (
    UNSET,
    WORKFLOW_ATTRIBUTES,
    StudyConfig,
    WorkflowConfig,
    examine_study,
    read_study,
    read_workflow,
)
from motoko.config.checks import JOB_ATTRIBUTES, RUN_ATTRIBUTES
from motoko.config.policy import read_policy
from motoko.config.retry import CLASSES
from motoko.errors import ConfigError
from motoko.job import entries, record
from motoko.study import records
from motoko.workflow import Workflow
from tests.support.workflows import write_workflow

WORKFLOW = """\
task_managers:
  prepare:
  solve:
    host: zeo:///scratch/solve
  far:
    host: zeo://node12:9100
    insecure: true
aliases:
  post: solve
orchestrator: orchestrator.main
generator: slurmCoat
slurm_options: [nodes=1, time=00:10:00]
bash_options:
max_concurrent: 4
my_key: {a: [1, 2]}
"""

STUDY = """\
study: solve_it-2
job:
  X: float
  n: {type: int, default: 2.0}
  name: {type: str, default:}
  points: list
run:
job_space:
  x: [1, 1e-3, 2.5]
  points: [[0, 1], [2, 3]]
run_params:
  nproc: 2
  remark: first
config_files: doIt.py
walltime: 10:00:00
mem: 4G
module: [gcc, openmpi]
completion: explicit
machine_name:
"""

#: Every key that bd.yaml files in use have.
STUDY_KEYS = {
    "run": "{y: float}",
    "run_space": "{y: [1, 2]}",
    "config_files": "[a.txt, ../b.txt]",
    "exec_file": "go.sh",
    "outpath": "/scratch",
    "machine_name": "laptop",
    "module": "gcc",
    "modules": "[gcc]",
    "generator": "sge",
    "host": "zeo:///a/b",
    "pbs_options": "[a=1]",
    "walltime": "2h",
    "nproc": "3",
    "mem": "100",
    "completion": "exit",
    "max_concurrent": "1",
    "on_failure": "keep",
    "artifacts": "{table: out.csv}",
    "blackdynamite": "installed",
    "partition": "debug",
    "account": "me",
    "gpus": "2",
    "max_submitted": "10",
    "array": "true",
    "pack": "8",
    "checkpoint_signal": "USR1@60",
    "retry": "{walltime: 2}",
    "sentinels": "{windows: [w0, w1], success: [['{window}/md.out']]}",
    "carry_over": "[w*]",
}


@pytest.fixture
def workflow(tmp_path: Path) -> Callable[[str], WorkflowConfig]:
    def read(text: str) -> WorkflowConfig:
        (tmp_path / "motoko.yaml").write_text(text, encoding="utf-8")
        return read_workflow(tmp_path)

    return read


@pytest.fixture
def study(tmp_path: Path) -> Callable[[str], StudyConfig]:
    def read(text: str) -> StudyConfig:
        (tmp_path / "bd.yaml").write_text(text, encoding="utf-8")
        return read_study(tmp_path)

    return read


def test_workflow_has_what_its_file_says(workflow, tmp_path):
    config = workflow(WORKFLOW)

    assert list(config.task_managers) == ["prepare", "solve", "far"]
    assert config.task_managers["prepare"].host is None
    assert config.task_managers["far"].host == "zeo://node12:9100"
    assert config.aliases == {"post": "solve"}
    assert config.orchestrator == "orchestrator.main"
    assert config.generator == "slurm"
    assert config.max_concurrent == 4
    assert config.options == {"slurm": ("nodes=1", "time=00:10:00"), "bash": ()}
    assert (config.file, config.directory) == (tmp_path / "motoko.yaml", tmp_path)


def test_workflow_has_defaults(workflow):
    config = workflow("task_managers: {a: }\norchestrator: o.main\naliases:\ngenerator:\n")

    assert (config.generator, config.max_concurrent, config.aliases) == ("bash", None, {})
    assert config.options == {}
    assert config.warnings == ()


def test_workflow_is_the_mapping_of_its_file(workflow):
    config = workflow(WORKFLOW)

    assert isinstance(config, Mapping)
    assert config["my_key"] == {"a": [1, 2]}
    assert config["generator"] == "slurmCoat"
    assert config["task_managers"]["prepare"] is None
    assert config.get("nothing", 3) == 3
    assert "my_key" in config and "nothing" not in config
    assert next(iter(config)) == "task_managers" and len(config) == 8
    assert config == dict(config) == {**config}
    assert config != {} and hash(config) == hash(workflow(WORKFLOW))
    with pytest.raises(KeyError):
        config["nothing"]


def test_config_is_frozen_and_can_be_pickled(workflow):
    config = workflow(WORKFLOW)

    with pytest.raises(FrozenInstanceError):
        config.generator = "pbs"
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config and copy.file == config.file


def test_study_has_what_its_file_says(study):
    config = study(STUDY)

    assert config.study == "solve_it-2"
    assert {name: field.type for name, field in config.job.items()} == {
        "x": "float",
        "n": "int",
        "name": "str",
        "points": "list",
    }
    assert config.run == {}
    assert config.job_space == {"x": [1, 0.001, 2.5], "points": [[0, 1], [2, 3]]}
    assert config.run_params == {"nproc": 2, "remark": "first"}
    assert config.config_files == ("doIt.py",)
    assert config.exec_file == "launch.sh"
    assert config.walltime == 36000.0
    assert config.mem == "4G"
    assert config.module == ("gcc", "openmpi")
    assert config.completion == "explicit"
    assert config.machine_name is None
    assert config.warnings == ()


def test_default_of_a_parameter_is_converted_and_an_empty_one_is_none(study):
    job = study(STUDY).job

    assert job["n"].has_default and job["n"].default == 2
    assert type(job["n"].default) is int
    assert not job["name"].has_default and job["name"].default is UNSET
    assert not job["x"].has_default


@pytest.mark.parametrize(
    ("given", "budgets", "delay_s"),
    [
        ("", {"infrastructure": 2}, 0.0),
        ("retry:", {"infrastructure": 2}, 0.0),
        ("retry: {walltime: 1}", {"infrastructure": 2, "walltime": 1}, 0.0),
        (
            "retry: {out of memory: 1, infrastructure: 0, delay: 2m}",
            {"out of memory": 1},
            120.0,
        ),
        ("retry: {delay: 0}", {"infrastructure": 2}, 0.0),
        ("retry: 3", dict.fromkeys(CLASSES, 3), 0.0),
        ("retry: 0", {}, 0.0),
    ],
)
def test_further_attempts_have_a_budget_for_each_class(study, given, budgets, delay_s):
    retry = study(f"study: s\njob: {{x: float}}\n{given}\n").retry

    assert {name: retry.budget(name) for name in CLASSES if retry.budget(name)} == budgets
    assert retry.delay_s == delay_s


@pytest.mark.parametrize(
    ("given", "last", "application"),
    [
        ("", "keep", 0),
        ("on_failure: prune", "prune", 0),
        ("on_failure: retry", "keep", 1),
        ("on_failure: {retry: {attempts: 2, then: prune}}", "prune", 2),
        ("on_failure: {retry: 3}", "keep", 3),
        ("on_failure: retry\nretry: {attempts: 2, then: raise}", "raise", 2),
        ("on_failure: raise\nretry: 1", "raise", 1),
        ("retry: {attempts: 2, application: 5, then: prune}", "prune", 5),
    ],
)
def test_policy_is_what_on_failure_and_retry_say_together(study, given, last, application):
    policy = study(f"study: s\njob: {{x: float}}\n{given}\n").policy

    assert policy.last == last
    assert policy.again.budget("application") == application
    assert policy.again.budget("infrastructure") >= 1
    assert read_policy(policy.for_runs()).again.budgets == policy.again.budgets


def test_keys_in_use_are_known_and_those_without_effect_say_so(study, tmp_path):
    lines = [f"{key}: {value}" for key, value in STUDY_KEYS.items()]
    text = "study: s\njob: {x: float}\njob_space:\n" + "\n".join(lines)

    alone = study(text)
    (tmp_path / "motoko.yaml").touch()
    config = study(text)

    assert alone.warnings == ()  # no other file says where it is served
    idle = {one.key for one in config.warnings if "has no effect" in one.found}
    assert {one.key for one in config.warnings} == idle
    assert idle == {"host"}
    assert (
        not {"run_space", "mem", "walltime", "nproc", "retry", "on_failure", "outpath"} & idle
    )
    assert config.generator == "sge"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("USR1@60", ("USR1", 60.0, False)),
        ("sigusr2@5m", ("USR2", 300.0, False)),
        ("B:TERM@1h30m", ("TERM", 5400.0, True)),
        ("HUP", ("HUP", 60.0, False)),
    ],
)
def test_checkpoint_signal_is_a_signal_and_how_long_before_the_end(study, text, found):
    assert study(f"study: s\njob:\ncheckpoint_signal: {text}\n").checkpoint_signal == found


@pytest.mark.parametrize("text", ["KILL@60", "USR1@", "USR1@soon", "10", "true", "C:USR1@3"])
def test_what_is_no_checkpoint_signal_is_refused(study, text):
    with pytest.raises(ConfigError, match="checkpoint_signal"):
        study(f"study: s\njob:\ncheckpoint_signal: {text}\n")


def test_script_is_launch_sh_unless_another_one_is_named(study):
    assert study("study: s\njob:\n").exec_file == "launch.sh"
    assert study("study: s\njob:\nexec_file: go.sh\n").exec_file == "go.sh"


def test_study_may_have_no_parameters(study):
    assert study("study: s\njob:\n").job == {}


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("bash", "bash"),
        ("BashCoat", "bash"),
        ("pbsCoat", "pbs"),
        ("SGE", "sge"),
        ("my_own", "my_own"),
        ("coat", "coat"),
    ],
)
def test_generator_is_known_without_its_coat(workflow, written, stored):
    config = workflow(f"task_managers: {{a: }}\norchestrator: o.main\ngenerator: {written}\n")

    assert config.generator == stored


@pytest.mark.parametrize(
    "host", ["zeo:///a", "zeo:///a/b_c", "zeo://name:1", "zeo://[::1]:9100"]
)
def test_host_is_a_directory_or_a_port(workflow, host):
    config = workflow(
        f"task_managers: {{a: {{host: '{host}', insecure: true}}}}\norchestrator: o.main\n"
    )

    assert config.task_managers["a"].host == host


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("+.inf", float("inf")),
        ("12", 12),
        ("0x10", 16),
        ("1_000", 1000),
        ("10:30:00", "10:30:00"),
        ("2024-01-31", "2024-01-31"),
        ("1e", "1e"),
        ("yes", True),
    ],
)
def test_numbers_are_what_they_look_like(workflow, written, value):
    config = workflow(f"task_managers: {{a: }}\norchestrator: o.main\nmine: {written}\n")

    assert config["mine"] == value
    assert type(config["mine"]) is type(value)


def test_anchors_and_merge_keys_work(study):
    config = study(
        "study: s\njob: {x: float, y: float}\nmine: &m {x: 1, y: 2}\n"
        "job_space:\n  <<: *m\n  y: 3\n"
    )

    assert config.job_space == {"x": 1, "y": 3}


def test_file_is_accepted_in_place_of_its_directory(study, tmp_path):
    config = study("study: s\njob: {x: float}\n")

    assert read_study(tmp_path / "bd.yaml") == config


def test_unknown_keys_are_warnings_with_the_nearest_known_one(workflow):
    config = workflow(
        "task_managers:\n  a: {hots: b}\n  vars:\norchestrator: o.main\ngenrator: b\nmine: 3\n"
    )

    assert [(w.line, w.key, w.found, w.allowed) for w in config.warnings] == [
        (5, "genrator", "unknown key", "did you mean 'generator'?"),
        (6, "mine", "unknown key", "it is passed on to orchestrators"),
        (2, "task_managers.a.hots", "unknown key", "did you mean 'host'?"),
        (
            3,
            "task_managers.vars",
            "workflow.vars is something else",
            "reach it as workflow.task_managers['vars']",
        ),
    ]


def test_unknown_keys_of_a_study_are_warnings_too(study):
    config = study("study: s\njob: {x: {type: int, defualt: 3}}\nwaltime: 3\n")

    assert [str(w).split("bd.yaml:")[1] for w in config.warnings] == [
        "3: waltime: unknown key; did you mean 'walltime'?",
        "2: job.x.defualt: unknown key; did you mean 'default'?",
    ]


def test_configuration_imports_nothing_heavy():
    code = (
        "import sys, motoko.config, motoko.model.constraints, motoko.model.space\n"
        "print(*{'numpy', 'pandas', 'ZODB', 'click', 'rich', 'anyio'} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == ""


def test_every_attribute_of_a_workflow_is_kept_from_aliases(tmp_path):
    workflow = Workflow(str(write_workflow(tmp_path / "w", {"mult": None})))

    names = {name for name in (*dir(Workflow), *vars(workflow)) if not name.startswith("_")}

    assert names == WORKFLOW_ATTRIBUTES


def test_entries_that_attributes_of_a_record_hide_are_told(study):
    def names(*kinds):
        found = {name for kind in kinds for name in dir(kind)}
        return {name for name in found if not name.startswith("_") and name.islower()}

    config = study(
        "study: s\njob: {x: int, Items: int}\nrun: {file: str}\nrun_params: {start: 1}"
    )

    assert names(records.Job, entries.Job) == JOB_ATTRIBUTES
    assert names(records.Run, record.Run) == RUN_ATTRIBUTES
    assert [(one.key, one.found, one.allowed) for one in config.warnings] == [
        ("job.Items", "job.items is something else", "reach it as job['items']"),
        ("run.file", "run.file is something else", "reach it as run['file']"),
        ("run_params.start", "run.start is something else", "reach it as run['start']"),
    ]


def test_a_key_with_a_mistake_is_told_that_alone(tmp_path):
    (tmp_path / "motoko.yaml").touch()
    (tmp_path / "bd.yaml").write_text("study: s\njob: {x: float}\nhost: ftp://there\n")

    found = examine_study(tmp_path)

    assert [mistake.key for mistake in found.mistakes] == ["host"]
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("max_concurrent: 2", "max_concurrent", "bd.yaml or, for all studies, beside task_man"),
        ("walltime: 60", "walltime", "put it into the study's bd.yaml"),
        ("slurm_options: [a=1]", "slurm_options", "put it beside task_managers"),
    ],
)
def test_key_below_a_study_that_belongs_elsewhere_is_told_where(workflow, line, key, words):
    text = f"task_managers:\n  mult:\n    {line}\norchestrator: orchestrator.main\n"

    [warning] = workflow(text).warnings

    assert warning.key == f"task_managers.mult.{key}"
    assert words in warning.allowed


def test_options_of_generators_that_are_not_there_are_named(study):
    text = "study: s\njob: {x: float}\nloadleveler_options: [q=long]\n"
    (options,) = study(text).warnings

    assert options.found == "no generator 'loadleveler' comes with Motoko"
    known = "bash, dask, pbs, sge, slurm"
    assert options.allowed == f"known are {known}, and those of other packages"
