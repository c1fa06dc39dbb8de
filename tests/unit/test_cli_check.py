"""What ``motoko check`` finds, beside what the table of bad input has."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from motoko.cli.places import find_directory
from motoko.errors import ConfigError, StudyNotFound
from motoko.workflow import Workflow, control, inspection
from motoko.workflow.upkeep.check import MISTAKE, OK, WARNING, Finding, check, is_good
from tests.support.studies import open_study
from tests.support.workflows import write_workflow


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_workflow(tmp_path / "w", {"mult": None, "norm": None})


def found(directory: Path, level: str) -> list[Finding]:
    """The findings of one level."""
    return [finding for finding in check(directory) if finding.level == level]


def test_good_workflow_has_only_good_findings(directory: Path) -> None:
    findings = list(check(directory))

    assert is_good(findings)
    assert {finding.level for finding in findings} == {OK}
    assert {"study mult", "orchestrator", "generator bash", "sockets"} <= {
        finding.about for finding in findings
    }


def test_nothing_is_made_by_looking(directory: Path) -> None:
    before = sorted(directory.rglob("*"))

    list(check(directory))

    assert [p for p in sorted(directory.rglob("*")) if "__pycache__" not in str(p)] == before


def test_mistakes_of_all_files_are_found_together(directory: Path) -> None:
    (directory / "motoko.yaml").write_text("task_managers: 3\n")
    (directory / "mult" / "bd.yaml").write_text("study: a/b\njob: {}\n")
    (directory / "norm" / "launch.sh").unlink()

    texts = [finding.text for finding in found(directory, MISTAKE)]

    assert len(texts) == 4
    for part in (
        "task_managers: found 3",
        "orchestrator: missing",
        "a/b",
        "launch.sh: no such",
    ):
        assert any(part in text for text in texts), part


def test_mistake_hides_nothing_else_in_its_file_or_beside_it(directory: Path) -> None:
    with (directory / "mult" / "bd.yaml").open("a") as file:
        file.write("run_space: {norm: much}\nwaltime: 10\nconfig_files: [mesh.geo]\n")
    (directory / "mult" / "launch.sh").write_text("echo __BLACKDYNAMITE__methd__\n")
    (directory / "norm" / "bd.yaml").write_text("study: norm\njob: {x: flaot}\nstudi: 1\n")
    (directory / "norm" / "launch.sh").unlink()
    with (directory / "motoko.yaml").open("a") as file:
        file.write("max_concurrent: -1\ngenerater: bash\ngenerator: slrum\n")

    texts = [(finding.level, finding.text) for finding in check(directory)]

    for level, part in (
        (MISTAKE, "motoko.yaml:5: max_concurrent: found -1"),
        (WARNING, "motoko.yaml:6: generater: unknown key"),
        (MISTAKE, "unknown generator 'slrum'"),
        (MISTAKE, "mult/bd.yaml:5: run_space.norm: found text 'much'"),
        (WARNING, "waltime: unknown key; did you mean 'walltime'?"),
        (MISTAKE, "mesh.geo: no such file"),
        (WARNING, "marker 'methd' has no value"),
        (MISTAKE, "norm/bd.yaml:2: job.x.type: found text 'flaot'"),
        (WARNING, "studi: unknown key"),
        (MISTAKE, "norm/launch.sh: no such file"),
        (OK, "orchestrator.main is async"),
        (OK, "does not run"),
    ):
        assert any(level == is_ and part in text for is_, text in texts), part


def test_database_is_looked_at_beside_a_study_with_a_mistake(directory: Path) -> None:
    (directory / "norm" / "bd.yaml").write_text("study: 3\n")

    [finding] = [finding for finding in check(directory) if finding.about == "database mult"]

    assert "not made yet" in finding.text


@pytest.mark.parametrize(
    ("file", "key", "spelled", "line"),
    [("motoko.yaml", "orchestrator", "orchestrater", 4), ("mult/bd.yaml", "study", "stduy", 1)],
)
def test_misspelt_key_that_must_be_there_is_recognised(
    directory: Path, file: str, key: str, spelled: str, line: int
) -> None:
    text = (directory / file).read_text()
    (directory / file).write_text(text.replace(f"{key}:", f"{spelled}:"))

    [finding] = found(directory, MISTAKE)

    said = f"{file}:{line}: {key}: missing; is it {spelled!r} that should be {key!r}?"
    assert said in finding.text


def test_a_database_on_the_network_needs_certificates(directory: Path) -> None:
    path = directory / "motoko.yaml"
    text = path.read_text().replace("mult:", "mult: {host: 'zeo://node:9100'}")
    path.write_text(text)

    findings = found(directory, MISTAKE)

    assert findings[0].about == "certificates"
    assert ".certs/ca.crt is missing; `motoko server certs` makes" in findings[0].text


def test_unknown_key_is_a_warning_and_the_workflow_good(directory: Path) -> None:
    with (directory / "mult" / "bd.yaml").open("a") as file:
        file.write("job_spaces: {}\n")

    [finding] = found(directory, WARNING)

    assert finding.text.endswith("job_spaces: unknown key; did you mean 'job_space'?")
    assert is_good(list(check(directory)))


@pytest.mark.parametrize("marker", ["x", "run_id", "id", "nproc", "dbhost"])
def test_marker_with_a_value_is_good(directory: Path, marker: str) -> None:
    (directory / "mult" / "launch.sh").write_text(f"echo __BLACKDYNAMITE__{marker}__\n")

    assert not found(directory, WARNING)


def test_slips_in_markers_are_warnings_here_and_when_runs_are_made(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = directory / "mult" / "launch.sh"
    script.write_text(
        "# __BLACKDYNAMITE__ ...\necho __BLACKDYNAMITE__x\necho '__BLACKDYNAMITE__X__'\n"
        "echo _BLACKDYNAMITE__mehtod__ __BLACKDYNAMITE__x__\n"
    )

    warned = [finding.text for finding in found(directory, WARNING)]
    study = Workflow(str(directory)).mult.base
    study.manifest()
    study.manifest()

    stays = "is no marker and stays as it is; did you mean __BLACKDYNAMITE__"
    said = [
        f"{script}:2: __BLACKDYNAMITE__x {stays}x__?",
        f"{script}:3: __BLACKDYNAMITE__X {stays}x__?",
        f"{script}:4: _BLACKDYNAMITE__mehtod {stays}",
    ]
    assert warned == [*said[:2], f"{said[2]}method__?"]
    assert caplog.messages == [*said[:2], f"{said[2]}mehtod__?"]


@pytest.mark.parametrize("n_warnings", [0, 1])
def test_marker_of_a_declared_entry_needs_somebody_who_sets_it(
    directory: Path, n_warnings: int
) -> None:
    params = "" if n_warnings else "run_params: {tol: 1.0}\n"
    file = directory / "mult" / "bd.yaml"
    file.write_text(f"study: mult\njob: {{x: int}}\nrun: {{tol: float}}\n{params}")
    (directory / "mult" / "launch.sh").write_text("echo __BLACKDYNAMITE__tol__\n")

    texts = [finding.text for finding in found(directory, WARNING)]

    assert len(texts) == n_warnings
    said = (
        "marker 'tol' has no value unless a task gives it: `run` declares it without a default"
    )
    assert all(said in text for text in texts)


def test_file_in_the_place_of_a_study_is_the_only_thing_said_of_it(directory: Path) -> None:
    shutil.rmtree(directory / "mult")
    (directory / "mult").write_text("study: mult\n")

    mistakes = [finding.text for finding in found(directory, MISTAKE)]

    [text] = mistakes
    assert text.startswith(f"{directory}/mult: is a file; expected a study's directory")


def test_marker_that_nothing_declares_is_a_warning_with_its_line(directory: Path) -> None:
    (directory / "mult" / "launch.sh").write_text("\necho __BLACKDYNAMITE__methd__\n")

    [finding] = found(directory, WARNING)

    assert f"{directory}/mult/launch.sh:2: marker 'methd' has no value" in finding.text
    assert "did you mean 'method'?" in finding.text


def test_two_input_files_of_one_name_clash(directory: Path) -> None:
    for name in ("a", "b"):
        (directory / "mult" / name).mkdir()
        (directory / "mult" / name / "mesh.geo").write_text("")
    with (directory / "mult" / "bd.yaml").open("a") as file:
        file.write("config_files: [a/mesh.geo, b/mesh.geo]\n")

    [finding] = found(directory, MISTAKE)

    assert "would both be mesh.geo in a run directory" in finding.text


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (
            "../motoko.yaml, ../motoko.yaml",
            "names {mult}/../motoko.yaml twice; name it once",
        ),
        (
            "../motoko.yaml, ../mult/../motoko.yaml",
            "{mult}/../motoko.yaml and {mult}/../mult/../motoko.yaml would both be"
            " motoko.yaml in a run directory; rename one, or name one alone",
        ),
        (
            "../mult/launch.sh",
            "{mult}/../mult/launch.sh and {mult}/launch.sh would both be"
            " launch.sh in a run directory; rename one, or name one alone",
        ),
    ],
)
def test_a_file_that_a_run_would_get_twice_is_refused_by_check_and_at_creation(
    directory: Path, names: str, problem: str
) -> None:
    mult = directory / "mult"
    with (mult / "bd.yaml").open("a") as file:
        file.write(f"config_files: [{names}]\n")
    expected = f"{mult}/bd.yaml: config_files: {problem.format(mult=mult)}"

    [finding] = found(directory, MISTAKE)
    with pytest.raises(ConfigError) as caught:
        open_study(mult).manifest()

    assert finding.text == str(caught.value) == expected


def test_a_file_that_is_given_anyway_may_be_named_too(directory: Path) -> None:
    (directory / "mult" / "doIt.py").touch()
    with (directory / "mult" / "bd.yaml").open("a") as file:
        file.write("config_files: [doIt.py, ./launch.sh]\n")

    manifest = open_study(directory / "mult").manifest()

    assert not found(directory, MISTAKE)
    assert [entry["name"] for entry in manifest["files"]] == ["doIt.py", "launch.sh"]


def test_script_with_a_syntax_error_is_a_warning(directory: Path) -> None:
    (directory / "mult" / "launch.sh").write_text("if true; then\n")

    [finding] = found(directory, WARNING)

    assert "bash finds it wrong: line 2: syntax error" in finding.text


@pytest.mark.parametrize(
    "body",
    [
        "async def main(workflow): ...",
        "async def main(*given, **params): ...",
        "def populate_arg_parser(p): p.add_argument('--n'); p.set_defaults(m=3)\n"
        "async def main(workflow, n, m, k=1): ...",
        "import functools\nasync def f(a, workflow, **params): ...\n"
        "main = functools.partial(f, 1)",
        "class Work:\n    async def main(self, workflow): ...\nmain = Work().main",
    ],
)
def test_orchestrator_needs_to_take_no_more_than_it_is_given(
    directory: Path, body: str
) -> None:
    (directory / "orchestrator.py").write_text(body)

    assert found(directory, MISTAKE) == []


@pytest.mark.parametrize("place", ["/proc/nix", "../closed/runs"])
def test_place_where_no_run_directory_can_be_made_is_a_mistake(
    directory: Path, place: str
) -> None:
    closed = directory / "closed"
    closed.mkdir()
    with (directory / "mult" / "bd.yaml").open("a") as file:
        file.write(f"outpath: {place}\n")
    assert (found(directory, MISTAKE) == []) is (place != "/proc/nix")
    closed.chmod(0o500)

    texts = [finding.text for finding in found(directory, MISTAKE)]

    if os.getuid() or place == "/proc/nix":  # root may write anywhere but in /proc
        [text] = texts
        assert "cannot be written to" in text
        assert f"; outpath: {place} of {directory}/mult/bd.yaml puts run dir" in text
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("import sys; sys.exit(4)", "calls sys.exit(4) when loaded"),
        ("async def main(): ...", "orchestrator.py:1: cannot load"),
        (
            "async def main(): ...",
            "its signature is main(), and it is called as main(workflow)",
        ),
        ("async def main(workflow, size): ...", "missing a required argument: 'size'"),
        (
            "def populate_arg_parser(p): p.add_argument('--n')\nasync def main(workflow): ...",
            "got an unexpected keyword argument 'n'",
        ),
        ("import os; os._exit(0)", "ends its process (code 0)"),
        ("print('hello')\n1/0", "orchestrator.py:2:"),
        ("def populate_arg_parser(p): p.add_argumnt('x')\nasync def main(w): ...", "py:1:"),
    ],
)
def test_orchestrator_is_tried_in_a_process_of_its_own(
    directory: Path, body: str, problem: str
) -> None:
    (directory / "orchestrator.py").write_text(body)

    [finding] = found(directory, MISTAKE)

    assert finding.about == "orchestrator"
    assert problem in finding.text


def test_import_that_takes_for_ever_is_a_mistake(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "_IMPORT_S", 0.3)
    (directory / "orchestrator.py").write_text("import time; time.sleep(60)\n")

    [finding] = found(directory, MISTAKE)

    assert "takes longer than 0.3 s" in finding.text


def fake_python(directory: Path, body: str) -> None:
    """A program named python3 in a directory of its own."""
    directory.mkdir()
    (directory / "python3").write_text(f"#!/bin/sh\n{body}\n")
    (directory / "python3").chmod(0o755)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("echo '(3, 7, 9)'", "is version 3.7.9; motoko.get_run() needs 3.8 or later"),
        ("echo broken >&2; exit 1", "does not work: broken"),
    ],
)
def test_python_of_the_scripts_that_will_not_do_is_a_warning(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, text: str
) -> None:
    fake_python(tmp_path / "bin", body)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    [finding] = found(directory, WARNING)

    assert text in finding.text


def test_missing_programs_are_told(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection.shutil, "which", lambda name: None)

    [mistake] = found(directory, MISTAKE)
    [warning] = found(directory, WARNING)

    assert mistake.about == "generator bash"
    assert "is not on the PATH" in mistake.text
    assert warning.about == "python3 of scripts"


def test_path_too_long_for_sockets_names_the_private_directory(tmp_path: Path) -> None:
    deep = write_workflow(tmp_path / ("d" * 60) / ("e" * 60), {"mult": None})

    [finding] = [f for f in check(deep) if f.about == "sockets"]

    assert finding.level == OK
    assert f"motoko-{os.getuid()}" in finding.text


def test_file_system_without_sockets_names_the_private_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: socket.socket, path: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr("motoko.store.address._socket_support", {})
    monkeypatch.setattr("motoko.store.address.socket.socket.bind", refuse, raising=False)

    [finding] = [f for f in check(directory) if f.about == "sockets"]

    assert "private directory" in finding.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_that_cannot_be_written_to_is_a_mistake(directory: Path) -> None:
    (directory / "mult").chmod(0o500)
    try:
        texts = [finding.text for finding in found(directory, MISTAKE)]
    finally:
        (directory / "mult").chmod(0o700)

    assert any("mult cannot be written to" in text for text in texts)


@pytest.mark.parametrize("line", ["nproc: 9999", "run_params: {nproc: 9999}"])
def test_more_cores_than_the_machine_has_are_a_warning(directory: Path, line: str) -> None:
    with (directory / "mult" / "bd.yaml").open("a") as file:
        file.write(f"{line}\n")

    [warning] = found(directory, WARNING)

    assert "nproc: 9999 is more than the" in warning.text
    assert warning.about == "study mult"


@pytest.mark.parametrize(
    ("lines", "is_told"),
    [
        ("", True),
        ("slurm_options: [time=60]", True),
        ("generator: slurm\nslurm_options: [qos=long]", True),
        ("generator: slurm\nslurm_options: [time=60]\npack: 2", True),
        ("generator: slurm\nslurm_options: [time=60]", False),
        ("generator: sgeCoat\nrun_params: {sge_options: [l=h_rt=60]}", False),
        ("walltime: 60", False),
        ("run_params: {walltime: 60}", False),
    ],
)
def test_a_signal_before_the_end_of_a_time_that_nobody_gives_is_a_warning(
    directory: Path, lines: str, is_told: bool
) -> None:
    with (directory / "mult" / "bd.yaml").open("a") as file:
        file.write(f"checkpoint_signal: USR1@5\n{lines}\n")

    told = [one for one in found(directory, WARNING) if "checkpoint_signal" in one.text]

    assert [one.about for one in told] == ["study mult"] * is_told
    assert all("write `walltime:` beside it" in one.text for one in told)
    assert all(("of the job of packed runs" in one.text) == ("pack" in lines) for one in told)


def test_studies_with_the_same_run_directories_are_refused(directory: Path) -> None:
    for name in ("mult", "norm"):
        yaml = "study: same\njob: {x: float}\noutpath: ../runs\n"
        (directory / name / "bd.yaml").write_text(yaml)

    [mistake] = found(directory, MISTAKE)
    with pytest.raises(ConfigError) as refused:
        control.ensure_served(Workflow(str(directory)))

    assert str(refused.value) == mistake.text
    assert f"runs would lie in {directory}/runs/BD-same-runs, as those of mult" in mistake.text


def test_file_that_is_no_workflow_is_refused(directory: Path) -> None:
    other = directory / "other.yaml"
    other.touch()

    assert find_directory(str(directory / "motoko.yaml")) == directory
    for file in (other, directory / "mult" / "bd.yaml"):
        with pytest.raises(StudyNotFound, match=r"is no motoko\.yaml; name that file"):
            find_directory(str(file))
