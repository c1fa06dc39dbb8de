"""Cases of bad input: what is done to a good workflow, what is typed, what must be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One mistake of a user."""

    name: str
    change: Change
    command: tuple[str, ...]
    #: Whether the databases are made, and served, before the command is typed.
    is_created: bool = False


def nothing(directory: Path) -> None:
    """The directory is as it should be."""


def text(file: str, content: str) -> Change:
    """Give a file this content."""
    return lambda directory: (directory / file).write_text(content)


def replaced(file: str, old: str, new: str) -> Change:
    """Replace text in a file."""

    def change(directory: Path) -> None:
        before = (directory / file).read_text()
        assert old in before
        (directory / file).write_text(before.replace(old, new))

    return change


def removed(file: str) -> Change:
    """Remove a file."""
    return lambda directory: (directory / file).unlink()


def yaml(content: str) -> Change:
    """Another motoko.yaml."""
    return text("motoko.yaml", content)


def study(content: str) -> Change:
    """Another bd.yaml of the study mult."""
    return text("mult/bd.yaml", content)


def orchestrator(content: str) -> Change:
    """Another orchestrator.py."""
    return text("orchestrator.py", content)


def foreign(directory: Path) -> None:
    """A study whose state directory was written by BlackDynamite."""
    (directory / "mult" / ".bd").mkdir()
    (directory / "mult" / ".bd" / "bd.zeo").write_bytes(b"FS30")


def junk_database(directory: Path) -> None:
    """A study whose database file is something else."""
    (directory / "mult" / ".bd").mkdir()
    (directory / "mult" / ".bd" / "motoko.db").write_bytes(b"junk" * 100)


CHECK = ("check",)
GOOD_TOP = "task_managers: {mult: , norm: }\n"
MISTAKES = [
    Case("broken yaml", yaml("task_managers: [mult\n"), CHECK),
    Case("not a mapping", yaml("- mult\n- norm\n"), CHECK),
    Case("tab in yaml", yaml("task_managers:\n\tmult:\n"), CHECK),
    Case("empty file", yaml(""), CHECK),
    Case("not text", lambda d: (d / "motoko.yaml").write_bytes(b"\xff\xfe\x00"), CHECK),
    Case("no motoko.yaml", removed("motoko.yaml"), CHECK),
    Case("key twice", yaml(GOOD_TOP + "orchestrator: orchestrator.main\n" * 2), CHECK),
    Case("no orchestrator", yaml(GOOD_TOP), CHECK),
    Case("orchestrator without module", yaml(GOOD_TOP + "orchestrator: main\n"), CHECK),
    Case("no task managers", yaml("orchestrator: orchestrator.main\n"), CHECK),
    Case(
        "two mistakes at once",
        yaml("task_managers: 3\norchestrator: [a]\n"),
        CHECK,
    ),
    Case(
        "alias to nowhere",
        yaml(GOOD_TOP + "orchestrator: orchestrator.main\naliases: {post: nrm}\n"),
        CHECK,
    ),
    Case(
        "alias that clashes",
        yaml(GOOD_TOP + "orchestrator: orchestrator.main\naliases: {mult: norm}\n"),
        CHECK,
    ),
    Case(
        "alias named like a method",
        yaml(GOOD_TOP + "orchestrator: orchestrator.main\naliases: {vars: norm}\n"),
        CHECK,
    ),
    Case(
        "study that leads outside",
        yaml("task_managers: {../mult: }\norchestrator: orchestrator.main\n"),
        CHECK,
    ),
    Case(
        "wrong host",
        yaml("task_managers: {mult: {host: here}}\norchestrator: orchestrator.main\n"),
        CHECK,
    ),
    Case(
        "negative limit",
        replaced("motoko.yaml", "norm:\n", "norm:\nmax_concurrent: -1\n"),
        CHECK,
    ),
    Case("missing study", lambda d: (d / "norm" / "bd.yaml").unlink(), CHECK),
    Case("study without a name", study("job: {x: float}\n"), CHECK),
    Case("unknown type", study("study: mult\njob: {x: flaot}\n"), CHECK),
    Case(
        "default of another type",
        study("study: mult\njob: {x: {type: int, default: a}}\n"),
        CHECK,
    ),
    Case(
        "unknown parameter in job_space",
        study("study: mult\njob: {x: float}\njob_space: {X2: 1.0}\n"),
        CHECK,
    ),
    Case(
        "wrong value in job_space",
        study("study: mult\njob: {x: int}\njob_space: {x: [1, two]}\n"),
        CHECK,
    ),
    Case(
        "parameters with names that are taken",
        study("study: mult\njob: {state: str, commit: int}\nrun: {nproc: int}\n"),
        CHECK,
    ),
    Case(
        "run parameters that no launcher could act on",
        study(
            "study: mult\njob: {x: float}\n"
            "run_params: {nproc: 0, walltime: soon, mem: 4 apples, id: 3}\n"
        ),
        CHECK,
    ),
    Case(
        "a dimension that makes no difference",
        study("study: mult\njob: {x: float}\nrun_space: {mode: [a, b]}\n"),
        CHECK,
    ),
    Case(
        "a value in two places",
        study(
            "study: mult\njob: {x: float}\nrun: {m: int}\n"
            "run_params: {m: 1}\nrun_space: {m: [1, 2]}\n"
        ),
        CHECK,
    ),
    Case(
        "a misspelt key that must be there",
        yaml(GOOD_TOP + "orchestrater: orchestrator.main\n"),
        CHECK,
    ),
    Case("keys in upper case", study("Study: mult\nJOB: {x: float}\n"), CHECK),
    Case(
        "mistakes of all kinds at once",
        study(
            "study: mult\njob: {x: float}\njob_space: {x: many}\nexec_file: lunch.sh\n"
            "walltme: 10m\n"
        ),
        CHECK,
    ),
    Case(
        "a path with a zero byte",
        study('study: mult\njob: {x: float}\nexec_file: "a\\0b"\n'),
        ("create",),
    ),
    Case(
        "a path that is too long",
        study(f"study: mult\njob: {{x: float}}\nexec_file: {'a' * 300}\n"),
        CHECK,
    ),
    Case("a control character", study("study: mult\njob: {x: \x01}\n"), CHECK),
    Case(
        "outpath that is a file",
        study("study: mult\njob: {x: float}\noutpath: bd.yaml\n"),
        CHECK,
    ),
    Case(
        "an input named like a sentinel",
        study("study: mult\njob: {x: float}\nconfig_files: [../motoko.yaml, FINISHED]\n"),
        CHECK,
    ),
    Case(
        "aliases that Python cannot write",
        yaml(GOOD_TOP + "orchestrator: orchestrator.main\naliases: {class: mult, _a: mult}\n"),
        CHECK,
    ),
    Case(
        "database on the network without certificates",
        yaml("task_managers: {mult: {host: zeo://n:1}}\norchestrator: orchestrator.main\n"),
        CHECK,
    ),
    Case("bad study name", study("study: a/b\njob: {x: float}\n"), CHECK),
    Case("bad walltime", study("study: mult\njob: {x: float}\nwalltime: soon\n"), CHECK),
    Case("missing launch.sh", removed("mult/launch.sh"), CHECK),
    Case(
        "missing config file",
        study("study: mult\njob: {x: float}\nconfig_files: [mesh.geo]\n"),
        CHECK,
    ),
    Case("missing orchestrator file", removed("orchestrator.py"), CHECK),
    Case("syntax error in the orchestrator", orchestrator("async def main(:\n"), CHECK),
    Case("import error in the orchestrator", orchestrator("import nowhere\n"), CHECK),
    Case("orchestrator is not async", orchestrator("def main(workflow): ...\n"), CHECK),
    Case("no such function", orchestrator("async def mian(workflow, **params): ...\n"), CHECK),
    Case(
        "unset marker",
        text("mult/launch.sh", "echo __BLACKDYNAMITE__xx__\n"),
        CHECK,
    ),
    Case(
        "unknown generator",
        replaced("motoko.yaml", "norm:\n", "norm:\ngenerator: slrum\n"),
        CHECK,
    ),
    Case("written by BlackDynamite", foreign, ("create",)),
    Case("a database that is junk", junk_database, ("create",)),
    Case("no workflow here", nothing, ("check", "mult/nowhere")),
    Case("no database yet", nothing, ("runs", "list", "mult")),
    Case("unknown study", nothing, ("runs", "list", "mul"), True),
    Case("unknown name", nothing, ("runs", "list", "mult", "stat = FINISHED"), True),
    Case("no value", nothing, ("runs", "list", "mult", "state ="), True),
    Case("no operator", nothing, ("runs", "list", "mult", "state FINISHED"), True),
    Case("wrong value", nothing, ("runs", "list", "mult", "x = much"), True),
    Case("unclosed parenthesis", nothing, ("runs", "list", "mult", "(x = 1"), True),
    Case("unclosed quote", nothing, ("runs", "list", "mult", "s = 'a"), True),
    Case("broken expression", nothing, ("runs", "list", "mult", "s ~ [a"), True),
    Case("and at the end", nothing, ("runs", "list", "mult", "x = 1 and"), True),
    Case(
        "ambiguous name",
        study("study: mult\njob: {x: float}\nrun: {x: float}\n"),
        ("runs", "list", "mult", "x = 1"),
        True,
    ),
    Case("no such run", nothing, ("runs", "show", "mult.7"), True),
    Case("not a run", nothing, ("runs", "show", "mult"), True),
    Case("unknown command", nothing, ("rnu",)),
    Case("unknown option", nothing, ("info", "--jsn")),
    Case("nothing to stop", nothing, ("orchestrator", "stop"), True),
    Case(
        "unknown option of the orchestrator",
        nothing,
        ("orchestrator", "start", "-n", "a", "--facter", "2"),
    ),
    Case("no run name", nothing, ("orchestrator", "start"), True),
    Case("launcher for an unknown study", nothing, ("launcher", "--bd_study", "mul"), True),
]
