"""Every mistake in a file is reported with file, line, key, what was found and is allowed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from motoko.config import read_study, read_workflow
from motoko.errors import ConfigError

NAME = "expected a name of letters, digits, _ and -, not beginning with -"
HOST = "expected zeo:///directory or zeo://name:port"
TYPE = "expected a type: float, int, str, bool, list, dict"
COUNT = "expected a whole number, 1 at least"
DURATION = (
    "expected a duration: seconds, [days-]hours:minutes:seconds,"
    " or like 90s, 10m, 2h, 1h30m, 1d"
)
TOP = "task_managers: {a: , b: }\norchestrator: o.main\n"
BASE = "study: s\njob: {x: float, n: int, l: list, s: str}\n"


def mistakes_of(tmp_path: Path, name: str, content: str | bytes) -> list[str]:
    """The messages, without the directory in front."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    read = read_workflow if name == "motoko.yaml" else read_study
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    return [
        str(mistake).removeprefix(f"{tmp_path}/{name}:") for mistake in caught.value.mistakes
    ]


WORKFLOWS = {
    "nothing at all": (
        "",
        [
            "orchestrator: missing; expected module.function, as in orchestrator.main",
            "task_managers: missing; expected a mapping of study directories",
        ],
    ),
    "a list": ("- a\n- b\n", ["1: found a list; expected a mapping of keys"]),
    "one value": ("\nabc\n", ["2: found one value; expected a mapping of keys"]),
    "managers as a list": (
        "orchestrator: o.main\ntask_managers: [a, b]\naliases: {c: a}\n",
        ["2: task_managers: found a list ['a', 'b']; expected a mapping of study directories"],
    ),
    "a manager that is a text": (
        "orchestrator: o.main\ntask_managers:\n  a: here\n",
        [
            "3: task_managers.a: found text 'here'; "
            "expected a mapping of settings of a task manager, or nothing"
        ],
    ),
    "a path as a name": (
        "orchestrator: o.main\ntask_managers:\n  ../a:\n  -b:\n  c/d:\n  '':\n  12:\n",
        [
            f"3: task_managers.../a: found the name '../a'; {NAME}",
            f"4: task_managers.-b: found the name '-b'; {NAME}",
            f"5: task_managers.c/d: found the name 'c/d'; {NAME}",
            f"6: task_managers.: found the name ''; {NAME}",
            f"7: task_managers[12]: found the name 12; {NAME}",
        ],
    ),
    "an orchestrator without function": (
        "task_managers: {a: }\norchestrator: main\n",
        [
            "2: orchestrator: found text 'main'; "
            "expected module.function, as in orchestrator.main"
        ],
    ),
    "an orchestrator elsewhere": (
        "task_managers: {a: }\norchestrator: ../o.main\n",
        [
            "2: orchestrator: found text '../o.main'; "
            "expected module.function, as in orchestrator.main"
        ],
    ),
    "aliases that clash": (
        TOP + "aliases:\n  a: b\n  vars: a\n  c d: a\n  e: bb\n  f: 3\n",
        [
            "4: aliases.a: is a task manager too; expected another name",
            "5: aliases.vars: is an attribute of every workflow; expected another name",
            "6: aliases.c d: found the name 'c d'; expected a name that Python can write",
            "7: aliases.e: found 'bb', which is no task manager; did you mean 'b'?; "
            "expected one of: a, b",
            "8: aliases.f: found 3; expected text",
        ],
    ),
    "hosts of another kind": (
        "orchestrator: o.main\ntask_managers:\n  a: {host: 'ftp://a:1'}\n  b:\n    host: zeo://a\n"
        "  c: {host: 'zeo://a:99999'}\n  d: {host: 'zeo:///'}\n  e: {host: 3}\n",
        [
            f"3: task_managers.a.host: found text 'ftp://a:1'; {HOST}",
            f"5: task_managers.b.host: found text 'zeo://a'; {HOST}",
            f"6: task_managers.c.host: found text 'zeo://a:99999'; {HOST}",
            f"7: task_managers.d.host: found text 'zeo:///'; {HOST}",
            f"8: task_managers.e.host: found 3; {HOST}",
        ],
    ),
    "options that are no texts": (
        TOP + "slurm_options: [a=1, {mem: 4}]\nbash_options: {a: 1}\n",
        [
            "3: slurm_options[1]: found a mapping {'mem': 4}; expected text",
            "4: bash_options: found a mapping {'a': 1}; expected text or a list of texts",
        ],
    ),
    "a generator that is none": (
        TOP + "generator: [slurm]\n",
        [
            "3: generator: found a list ['slurm']; expected the name of a generator, like bash,"
            " dask, pbs, sge, slurm"
        ],
    ),
    "a limit of nothing": (
        TOP + "max_concurrent: 0\n",
        [f"3: max_concurrent: found 0; {COUNT}"],
    ),
    "a key given twice": (
        TOP + "mine:\n  k: 1\n  k: 2\norchestrator: o.other\n",
        [
            "5: mine.k: given twice, first on line 4; expected each key once",
            "6: orchestrator: given twice, first on line 2; expected each key once",
        ],
    ),
    "a key that is no text": (
        TOP + "on: 1\n3: 4\n",
        [
            "3: True: found on, yes or true without quotes, which YAML reads as true; "
            "expected text: put the key in quotes",
            "4: [3]: found the key 3; expected text: put it in quotes",
        ],
    ),
}

CLASS = (
    "a class of failure (application, walltime, out of memory, preempted, infrastructure,"
    " submission)"
)
FURTHER = "a whole number of further attempts, 0 for none"
RETRY = (
    f"{FURTHER}, or a mapping of classes of failure (application, walltime, out of memory,"
    " preempted, infrastructure, submission) to such numbers, with attempts for all"
    " others, a delay, backoff and then perhaps"
)
STUDIES = {
    "keys that are one to YAML": (
        "study: s\njob:\n  x: int\n  on: int\n  yes: int\n  1: int\n  x: int\n",
        [
            "4: job.True: found on, yes or true without quotes, which YAML reads as true;"
            " expected text: put the key in quotes",
            "5: job.yes: found yes without quotes, which YAML reads as the truth value true;"
            " put it in quotes, or name it otherwise",
            "6: job.1: found 1 without quotes, which YAML reads as the number 1; put it in"
            " quotes, or name it otherwise",
            "7: job.x: given twice, first on line 3; expected each key once",
        ],
    ),
    "further attempts as text": (
        "study: s\njob: {x: int}\nretry: often\n",
        [f"3: retry: found text 'often'; expected {RETRY}"],
    ),
    "fewer than no further attempts": (
        "study: s\njob: {x: int}\nretry: {application: -1}\n",
        [f"3: retry.application: found -1; expected {FURTHER}"],
    ),
    "a class of failure that nobody knows": (
        "study: s\njob: {x: int}\nretry: {aplication: 2}\n",
        [
            f"3: retry.aplication: found text 'aplication'; expected {CLASS}; did you mean"
            " 'application'?"
        ],
    ),
    "a class of failure that is a number": (
        "study: s\njob: {x: int}\nretry: {3: 2}\n",
        [f"3: retry[3]: found 3; expected {CLASS}"],
    ),
    "a policy that nobody knows": (
        "study: s\njob: {x: int}\non_failure: prone\n",
        [
            "3: on_failure: found text 'prone'; expected keep, retry, prune, raise, or {retry:"
            " {attempts: 2, then: prune}}; did you mean 'prune'?"
        ],
    ),
    "two ends of one policy": (
        "study: s\njob: {x: int}\non_failure: raise\nretry: {attempts: 2, then: prune}\n",
        ["4: retry.then: found text 'prune'; expected raise, as on_failure says"],
    ),
    "how often, said twice": (
        "study: s\njob: {x: int}\non_failure: {retry: 2}\nretry: 3\n",
        ["4: retry: found 3; expected nothing here, since on_failure says how often"],
    ),
    "more of what nobody has": (
        "study: s\njob: {x: int}\nretry: {out of memory: {attempts: 1, times: {men: 2}}}\n",
        [
            "3: retry.out of memory.times.men: found text 'men'; expected no more than mem,"
            " walltime; did you mean 'mem'?"
        ],
    ),
    "less with each attempt": (
        "study: s\njob: {x: int}\nretry: {delay: 1s, backoff: 0.5}\n",
        ["3: retry.backoff: found 0.5; expected a factor from 1 to 100"],
    ),
    "a delay that is none": (
        "study: s\njob: {x: int}\nretry: {delay: soon}\n",
        [
            "3: retry.delay: found text 'soon'; expected a duration: seconds,"
            " [days-]hours:minutes:seconds, or like 90s, 10m, 2h, 1h30m, 1d"
        ],
    ),
    "nothing at all": (
        "# empty\n",
        [
            "job: missing; expected a mapping of parameter names to types",
            f"study: missing; {NAME}",
        ],
    ),
    "a study's name": ("study: a b\njob: {x: int}\n", [f"1: study: found text 'a b'; {NAME}"]),
    "a study's name upwards": ("study: ..\njob: \n", [f"1: study: found text '..'; {NAME}"]),
    "a study's number": ("study: 3\njob: {x: int}\n", [f"1: study: found 3; {NAME}"]),
    "jobs as a list": (
        "study: s\njob: [x]\n",
        ["2: job: found a list ['x']; expected a mapping of names to types"],
    ),
    "types nobody knows": (
        "study: s\njob:\n  x: flaot\n  y:\n  z: {type: [int]}\n  w: {default: 3}\n  v: 3\n",
        [
            f"3: job.x.type: found text 'flaot'; {TYPE}; did you mean 'float'?",
            "4: job.y: found nothing; expected a type (float, int, str, bool, list, dict) "
            "or {type: ..., default: ...}",
            f"5: job.z.type: found a list ['int']; {TYPE}",
            f"6: job.w.type: missing; {TYPE}",
            "7: job.v: found 3; expected a type (float, int, str, bool, list, dict) "
            "or {type: ..., default: ...}",
        ],
    ),
    "a default of another type": (
        "study: s\njob:\n  n: {type: int, default: 1.5}\n",
        ["3: job.n.default: found 1.5; expected a whole number"],
    ),
    "names that cannot be": (
        "study: s\njob:\n  a-b: int\n  ID: int\n  c: int\n  C: int\n  1: int\n",
        [
            "3: job.a-b: found the name 'a-b'; expected letters, digits and _,"
            " not beginning with a digit",
            "4: job.ID: is the name of a built-in entry; expected another name",
            "6: job.C: is the same name as 'c' on line 5; expected names that differ",
            "7: job[1]: found the name 1; expected letters, digits and _,"
            " not beginning with a digit",
        ],
    ),
    "a built-in entry of another type": (
        "study: s\njob: {x: int}\nrun:\n  nproc: int\n  state: float\n",
        [
            "4: run.nproc: is the name of a built-in entry;"
            " leave it out, or choose another name",
            "5: run.state: is the name of a built-in entry;"
            " leave it out, or choose another name",
        ],
    ),
    "a built-in entry that users do not see": (
        "study: s\njob: {x: int}\nrun:\n  Files: list\n",
        ["4: run.Files: is the name of a built-in entry; leave it out, or choose another name"],
    ),
    "parameters named like entries of every run": (
        "study: s\njob: {State: str,\n  job_id: int, files: list}\n",
        [
            "2: job.State: is the name of a built-in entry; expected another name",
            "3: job.job_id: is the name of a built-in entry; expected another name",
        ],
    ),
    "values that no launcher could act on": (
        BASE + "run_params:\n  nproc: 0\n  walltime: soon\n  mem: 4 apples\n  gpus: -1\n"
        '  omp_num_threads: "a\\0b"\n'
        "run_space: {NPROC: [1, 0]}\n",
        [
            "4: run_params.nproc: found 0; expected a whole number, 1 at least (int)",
            "5: run_params.walltime: found text 'soon'; expected a duration: seconds,"
            " [days-]hours:minutes:seconds, or like 90s, 10m, 2h, 1h30m, 1d",
            "6: run_params.mem: found text '4 apples'; expected an amount of memory: a whole"
            " number, or one with a unit, like 500M or 4GB",
            "7: run_params.gpus: found -1; expected a whole number, or text with a unit",
            "8: run_params.omp_num_threads: found text 'a\\x00b'; expected a whole number,"
            " 1 at least, or a list of them like '4,2'",
            "9: run_space.NPROC[1]: found 0; expected a whole number, 1 at least (int)",
        ],
    ),
    "run parameters that are not the user's": (
        BASE + "run_params:\n  STATE: RUNNING\n  id: 3\n  a b: 1\nrun_space: {files: [1]}\n",
        [
            "4: run_params.STATE: is kept by Motoko itself; choose another name",
            "5: run_params.id: is kept by Motoko itself; choose another name",
            "6: run_params.a b: found the name 'a b';"
            " expected letters, digits and _,"
            " not beginning with a digit",
            "7: run_space.files: is kept by Motoko itself; choose another name",
        ],
    ),
    "entries that keep runs from being launched": (
        BASE + "run:\n  awaits_step: int\nrun_params: {behind_runs: 5, required_runs: 6}\n",
        [
            "4: run.awaits_step: is the name of a built-in entry;"
            " leave it out, or choose another name",
            "5: run_params.behind_runs: is kept by Motoko itself; choose another name",
            "5: run_params.required_runs: is kept by Motoko itself; choose another name",
        ],
    ),
    "a dimension that makes no difference": (
        BASE + "run_space: {mode: [a, b], replica: [1, 2], nproc: [1, 2], one: [1]}\n",
        [
            "3: run_space.mode: 2 values, and an undeclared entry tells no runs apart;"
            " declare it under run:, or give one value",
        ],
    ),
    "a space that does not fit": (
        BASE + "job_space:\n  X: 1\n  nn: 2\n  n: [1, a, 2.5]\n  l: 3\n  s: {a: 1}\n",
        [
            "5: job_space.nn: no parameter of that name; did you mean 'n'?; "
            "expected one of job: x, n, l, s",
            "6: job_space.n[1]: found text 'a'; expected a whole number (int)",
            "6: job_space.n[2]: found 2.5; expected a whole number (int)",
            "7: job_space.l: found 3; expected a list (list)",
            "8: job_space.s: found a mapping {'a': 1}; expected text (str)",
        ],
    ),
    "a list over several lines": (
        BASE + "job_space:\n  x:\n    - 1\n    - 2\n    - true\n",
        ["7: job_space.x[2]: found true; expected a number (float)"],
    ),
    "run entries of another type": (
        BASE
        + "run: {y: float}\nrun_params: {nproc: two, free: [1], y: [1]}\nrun_space: {y: [a]}\n",
        [
            "4: run_params.nproc: found text 'two'; expected a whole number (int)",
            "4: run_params.y: found a list [1]; expected a number (float)",
            "5: run_space.y[0]: found text 'a'; expected a number (float)",
        ],
    ),
    "more runs than there can be": (
        BASE + "max_concurrent: 99999999999999999999999999\nmax_submitted: 1000001\n",
        [
            "3: max_concurrent: found 99999999999999999999999999;"
            " expected a whole number, 1000000 at most",
            "4: max_submitted: found 1000001; expected a whole number, 1000000 at most",
        ],
    ),
    "launcher settings": (
        BASE + "walltime: soon\nnproc: 1.5\ncompletion: maybe\nconfig_files: [a, 3]\nmem: -1\n"
        "exec_file: [a]\n",
        [
            f"3: walltime: found text 'soon'; {DURATION}",
            f"4: nproc: found 1.5; {COUNT}",
            "5: completion: found text 'maybe'; expected 'exit' or 'explicit'",
            "6: config_files[1]: found 3; expected text",
            "7: mem: found -1; expected an amount of memory: a whole number,"
            " or one with a unit, like 500M or 4GB",
            "8: exec_file: found a list ['a']; expected text",
        ],
    ),
    "an unclosed bracket": (
        "study: s\njob: {x: float\nrun:\n",
        [
            "3: broken YAML: expected ',' or '}', but got ':'; expected valid YAML",
        ],
    ),
    "a tab": (
        "study: s\njob:\n\tx: float\n",
        [
            "3: broken YAML: found character '\\t' that cannot start any token; "
            "indent with blanks, not tabs"
        ],
    ),
    "two colons": (
        "study: s: t\n",
        ["1: broken YAML: mapping values are not allowed here; expected valid YAML"],
    ),
    "two documents": (
        "study: s\n---\njob: {}\n",
        ["2: broken YAML: but found another document; expected valid YAML"],
    ),
    "Python in it": (
        "study: !!python/object/apply:os.system [ls]\njob: {}\n",
        [
            "1: broken YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'; expected valid YAML"
        ],
    ),
    "a tag on a value": (
        "study: s\njob: {}\nmine: !secret abc\n",
        [
            "3: mine: could not determine a constructor for the tag '!secret'; "
            "expected plain values without tags"
        ],
    ),
    "a list as a key": (
        "study: s\n? [a, b]\n: 3\n",
        ["2: found a list or mapping as a key; expected text"],
    ),
    "an anchor inside itself": (
        "study: s\nmine: &a [1, *a]\n",
        ["2: an anchor contains itself; expected a finite value"],
    ),
    "anchors that multiply": (
        "".join(
            f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9 if i else ['1'] * 9)}]\n"
            for i in range(9)
        ),
        ["7: anchors multiply its content; expected 1000000 values at most"],
    ),
    "another encoding": (
        "study: s\n# °\n".encode("latin-1"),
        ["2: byte 0xb0 is not UTF-8; expected text saved as UTF-8"],
    ),
    "very deep nesting": (
        "study: " + "[" * 3000,
        [" nested too deeply; expected a few levels of keys"],
    ),
}


@pytest.mark.parametrize(("content", "expected"), WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_mistake_in_motoko_yaml_is_reported(tmp_path, content, expected):
    found = mistakes_of(tmp_path, "motoko.yaml", content)

    assert [message.strip() for message in found] == [message.strip() for message in expected]


@pytest.mark.parametrize(("content", "expected"), STUDIES.values(), ids=STUDIES.keys())
def test_mistake_in_bd_yaml_is_reported(tmp_path, content, expected):
    found = mistakes_of(tmp_path, "bd.yaml", content)

    assert [message.strip() for message in found] == [message.strip() for message in expected]


def test_missing_files_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError) as workflow:
        read_workflow(tmp_path)
    with pytest.raises(ConfigError) as study:
        read_study(tmp_path / "nowhere")

    assert str(workflow.value) == (
        f"{tmp_path}/motoko.yaml: no such file; "
        "expected a workflow's directory; `motoko new DIR` makes one"
    )
    assert str(study.value) == (
        f"{tmp_path}/nowhere/bd.yaml: no such file; "
        "expected a study's directory; its bd.yaml names the study and its parameters"
    )


def test_directory_in_place_of_the_file_is_reported(tmp_path):
    (tmp_path / "bd.yaml").mkdir()

    with pytest.raises(ConfigError) as caught:
        read_study(tmp_path)

    assert str(caught.value) == (
        f"{tmp_path}/bd.yaml: cannot be read: Is a directory; expected a readable text file"
    )


def test_unreadable_file_is_reported(tmp_path, monkeypatch):
    (tmp_path / "bd.yaml").write_text("study: s\n")

    def refuse(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        ConfigError, match=r"bd.yaml: cannot be read: Permission denied; expected"
    ):
        read_study(tmp_path)


def test_mistakes_keep_their_facts(tmp_path):
    (tmp_path / "bd.yaml").write_text("study: s\njob: {x: float}\nnproc: 0\n")

    with pytest.raises(ConfigError) as caught:
        read_study(tmp_path)

    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line) == (f"{tmp_path}/bd.yaml", 3)
    assert (mistake.key, mistake.found, mistake.allowed) == ("nproc", "found 0", COUNT)
