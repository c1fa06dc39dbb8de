"""The frozen models of ``motoko.yaml`` and ``bd.yaml``; the JSON Schema comes from them too."""

from __future__ import annotations

from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from motoko.config.checkpoint import Checkpoint
from motoko.config.fields import (
    OPTIONS_SUFFIX,
    Amount,
    Artifacts,
    Count,
    Flag,
    Generator,
    Host,
    Memory,
    Name,
    Orchestrator,
    Seconds,
    TcpHost,
    Text,
    Texts,
    mapping_of,
    texts,
)
from motoko.config.pipelines import PipelineConfig
from motoko.config.policy import FailurePolicy, OnFailure, combined
from motoko.config.retry import DEFAULT as DEFAULT_RETRY
from motoko.config.retry import Retry, RetryPolicy
from motoko.config.sections import Fit, Read, Section, means
from motoko.config.sentinels import Sentinels
from motoko.config.values import JOB_CONVERTERS, TYPES, UNSET, Refused, TypeName, worked_out
from motoko.errors import Mistake
from motoko.paths import PIPELINE_ORCHESTRATOR
from motoko.phrases import nearest


@dataclass(frozen=True, kw_only=True)
class TaskManagerConfig(Section):
    """What ``motoko.yaml`` says about one study."""

    host: Host | None = field(
        default=None,
        metadata=means("Where the study's database is served; absent: a local socket."),
    )
    insecure: Flag = field(
        default=False,
        metadata=means("Whether its database is spoken to over TCP without any TLS."),
    )


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


@dataclass(frozen=True, kw_only=True)
class FieldConfig(Section):
    """A declared parameter of jobs or entry of runs: its type, and a default perhaps."""

    type: TypeName = field(metadata=means("What values it takes."))
    default: Any = field(
        default=UNSET,
        metadata=means(
            "The value of jobs, or runs, that do not give one.",
            json_schema_extra=_without_default,
        ),
    )

    @property
    def has_default(self) -> bool:
        """Whether there is a default; an empty one (``default:``) is none."""
        return self.default is not UNSET


def _short_form(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, Mapping):
        raise Refused(f"a type ({', '.join(TYPES)}) or {{type: ..., default: ...}}")
    given = {k: v for k, v in value.items() if k != "default" or v is not None}
    kind = given.get("type")
    if kind not in TYPES:
        meant = nearest(kind, TYPES) if isinstance(kind, str) else ""
        raise Refused(f"a type: {', '.join(TYPES)}{meant}", kind, ("type",))
    if "default" in given:
        try:
            given["default"] = JOB_CONVERTERS[kind](given["default"])
        except Refused as refused:
            raise Refused(refused.expected, given["default"], ("default",)) from None
    return given


class FileConfig(Section):
    """A whole file: its known keys are attributes, and it is the mapping that YAML gives too.

    Orchestrators read keys of their own from it (``config["my_key"]``), spelled and nested as
    in the file, without what the models add or convert.
    """

    __pydantic_config__ = {"extra": "ignore"}  # they are in the mapping

    _may_be_empty: ClassVar[frozenset[str]] = frozenset()
    #: For what a file must have, where it is wrong or missing.
    stand_ins: ClassVar[Mapping[str, Any]] = {}

    _file: Path
    _raw: Mapping[str, Any]
    _warnings: tuple[Mistake, ...]
    _given: tuple[str, ...]
    #: The bytes of the file, if there is no mistake in them and this is to be kept.
    _content: bytes | None = None

    def read_from(
        self,
        file: Path,
        raw: Mapping[str, Any],
        warnings: tuple[Mistake, ...] = (),
        given: Iterable[str] = (),
    ) -> Self:
        """The same, which now knows its file, and what stands there."""
        vars(self).update(
            _file=file.absolute(), _raw=raw, _warnings=warnings, _given=tuple(given)
        )
        return self

    def named(self, file: Path) -> Self:
        """The same, of a file that is reached by this path."""
        warnings = (
            Mistake(str(file), w.line, w.key, w.found, w.allowed) for w in self._warnings
        )
        vars(self).update(_file=file.absolute(), _warnings=tuple(warnings))
        return self

    @classmethod
    def present(cls, data: Mapping[Any, Any]) -> dict[str, Any]:
        """The keys that have a value (``walltime:`` alone says nothing) or may be empty."""
        return {
            str(key): value
            for key, value in data.items()
            if value is not None or key in cls._may_be_empty
        }

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same with what follows from it."""
        return given

    @property
    def file(self) -> Path:
        """The absolute path of the file."""
        return self._file

    @property
    def directory(self) -> Path:
        """The directory that the file lies in."""
        return self._file.parent

    @property
    def warnings(self) -> tuple[Mistake, ...]:
        """What is odd about the file, and no error."""
        return self._warnings

    @property
    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Generator options: ``slurm_options: [...]`` under the key ``slurm``."""
        return MappingProxyType(
            {
                key.removesuffix(OPTIONS_SUFFIX): texts(value)
                for key, value in self._raw.items()
                if isinstance(key, str) and is_options_key(key)
            }
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or name not in self._raw:
                raise AttributeError(f"the file says nothing of {name!r}")
            return self._raw[name]

    def __getitem__(self, key: str) -> Any:
        return self._raw[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __contains__(self, key: object) -> bool:
        return key in self._raw

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FileConfig):
            return type(self) is type(other) and self._raw == other._raw
        return self._raw == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._raw))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key as the file has it, or the default."""
        return self._raw.get(key, default)

    def keys(self) -> KeysView[str]:
        """All keys of the file."""
        return self._raw.keys()

    def values(self) -> ValuesView[Any]:
        """Their values, as the file has them."""
        return self._raw.values()

    def items(self) -> ItemsView[str, Any]:
        """Keys and values, as the file has them."""
        return self._raw.items()


Mapping.register(FileConfig)


def is_options_key(key: str) -> bool:
    """Whether a key carries options of some generator."""
    return key.endswith(OPTIONS_SUFFIX) and key != OPTIONS_SUFFIX


#: Keys that are read and checked, and that nothing in this version acts on.
WITHOUT_EFFECT: frozenset[str] = frozenset()
#: The same of bd.yaml only.
WITHOUT_EFFECT_IN_STUDY = WITHOUT_EFFECT | {"host"}


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkflowConfig(FileConfig):
    """``motoko.yaml``: the studies of a workflow and what orchestrates them."""

    stand_ins: ClassVar[Mapping[str, Any]] = {
        "task_managers": {},
        "orchestrator": "orchestrator.main",
    }

    _is_alone: ClassVar[bool] = False

    @classmethod
    def of_study(cls, study: StudyConfig) -> Self:
        """The workflow that a study without ``motoko.yaml`` is by itself."""
        managers = {study.study: TaskManagerConfig(host=study.host)}
        config = cls(**{**cls.stand_ins, "task_managers": managers})
        vars(config)["_is_alone"] = True
        return config.read_from(study.file, study._raw, study.warnings)

    @classmethod
    def of_studies(cls, file: Path, names: Iterable[str]) -> Self:
        """What stands for a file that says nothing to be relied on: these studies."""
        managers = {name: TaskManagerConfig() for name in names}
        return cls(**{**cls.stand_ins, "task_managers": managers}).read_from(file, {})

    @property
    def is_alone(self) -> bool:
        """Whether it is one study in its own directory, without ``motoko.yaml``."""
        return self._is_alone

    def study_dir(self, name: str) -> Path:
        """The directory of the study of this name."""
        return self.directory if self._is_alone else self.directory / name

    def host_of(self, study: str) -> str | None:
        """Where the database of a study is served; None for a local socket."""
        return self.task_managers[study].host or self.host

    def certificates_for(self, study: str | None = None) -> Path | None:
        """The directory of the certificates by which the database of a study, or the
        workflow's own, is spoken to over TCP; None for without TLS."""
        settings = self.task_managers.get(study) if study is not None else None
        if self.insecure or (settings is not None and settings.insecure):
            return None
        return self.certificates_dir

    @property
    def certificates_dir(self) -> Path:
        """Where certificates lie."""
        return self.directory / Path(self.certificates).expanduser()

    @property
    def tcp_names(self) -> set[str]:
        """The names by which databases are reached over TCP."""
        hosts = (self.host, *(manager.host for manager in self.task_managers.values()))
        found = (urlsplit(host).hostname for host in hosts if host is not None)
        return {name for name in found if name}

    task_managers: Annotated[
        dict[
            str,
            Annotated[
                TaskManagerConfig, Read(mapping_of("settings of a task manager, or nothing"))
            ],
        ],
        Read(mapping_of("study directories")),
    ] = field(
        metadata=means("One study each: the name of its directory, and settings or nothing.")
    )
    orchestrator: Orchestrator = field(
        metadata=means(
            "The async function to run, as module.function, in a file beside this one."
        )
    )
    aliases: Annotated[dict[str, Text], Read(mapping_of("task managers"))] = field(
        default_factory=dict, metadata=means("Further names of task managers.")
    )
    generator: Generator = field(default="bash", metadata=means("How runs are executed."))
    host: TcpHost | None = field(
        default=None,
        metadata=means(
            "Where all databases of the workflow, its own among them, are served over"
            " TCP; absent: on local sockets."
        ),
    )
    certificates: Text = field(
        default=".certs",
        metadata=means(
            "The directory of the certificates for TCP, beside the file or anywhere."
        ),
    )
    insecure: Flag = field(
        default=False,
        metadata=means("Whether databases are spoken to over TCP without any TLS."),
    )
    max_concurrent: Count | None = field(
        default=None,
        metadata=means("How many runs of a generator may execute at once, over all studies."),
    )
    max_submitted: Count | None = field(
        default=None,
        metadata=means(
            "How many jobs of a batch system may be queued at once, over all studies."
        ),
    )
    pipeline: Annotated[PipelineConfig, Read(mapping_of("steps and systems"))] | None = field(
        default=None,
        metadata=means("Steps that are done for each of many systems, in their order."),
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without any other orchestrator, a pipeline is its own."""
        if given.get("pipeline") is not None:
            return {"orchestrator": PIPELINE_ORCHESTRATOR, **given}
        return given


def _lower_names(value: dict[str, Any], _: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): entry for name, entry in value.items()}


def _work_out(value: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    types = {name: field.type for name, field in others.get("job", {}).items()}
    found = dict(value)
    for name, given in value.items():
        with suppress(Refused):  # which is told with the line that it stands in
            found[name] = worked_out(types.get(name), given)
    return found


def _agree_with_policy(value: Retry, others: Mapping[str, Any]) -> Retry:
    combined(others.get("on_failure"), value)
    return value


Fields = Annotated[
    dict[str, Annotated[FieldConfig, Read(_short_form)]],
    Read(mapping_of("names to types")),
    Fit(_lower_names),
]
Values = Annotated[dict[str, Any], Read(mapping_of("names to values")), Fit(_lower_names)]


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyConfig(FileConfig):
    """``bd.yaml``: the parameters of a study and how its runs are executed."""

    _may_be_empty: ClassVar[frozenset[str]] = frozenset({"job"})
    stand_ins: ClassVar[Mapping[str, Any]] = {"study": "unnamed", "job": {}}

    study: Name = field(metadata=means("The study's name."))
    job: Fields = field(metadata=means("The parameters of a job and their types."))
    run: Fields = field(
        default_factory=dict,
        metadata=means("Entries that runs have besides the built-in ones."),
    )
    job_space: Annotated[Values, Fit(_work_out)] = field(
        default_factory=dict,
        metadata=means("Default values of parameters; a list (or `range(3)`) is a dimension."),
    )
    run_space: Values = field(
        default_factory=dict,
        metadata=means("Default values of run entries; a list is a dimension."),
    )
    run_params: Values = field(
        default_factory=dict, metadata=means("Default values of run entries.")
    )
    config_files: Texts = field(
        default=(),
        metadata=means("Files that every run directory gets, relative to the study."),
    )
    exec_file: Text = field(
        default="launch.sh", metadata=means("The bash script that a run executes.")
    )
    completion: Literal["exit", "explicit"] = field(
        default="exit",
        metadata=means("Whether a run is over when its script ends, or when it says so."),
    )
    on_failure: OnFailure | None = field(
        default=None, metadata=means("What becomes of a run that failed; absent: `keep`.")
    )
    retry: Annotated[RetryPolicy, Fit(_agree_with_policy)] = field(
        default=DEFAULT_RETRY,
        metadata=means("How many further attempts a run gets by itself, by class of failure."),
    )
    sentinels: Sentinels | None = field(
        default=None,
        metadata=means("Files that say that the work of a run is finished, or has failed."),
    )
    carry_over: Texts = field(
        default=(),
        metadata=means("Files and directories that an attempt leaves for the next one."),
    )
    max_concurrent: Count | None = field(
        default=None, metadata=means("How many runs of the study may execute at once.")
    )
    max_submitted: Count | None = field(
        default=None, metadata=means("How many batch jobs of the study may be queued at once.")
    )
    outpath: Text | None = field(
        default=None, metadata=means("Where run directories lie, if elsewhere.")
    )
    machine_name: Text | None = field(
        default=None, metadata=means("The machine that runs are meant for.")
    )
    host: Host | None = field(
        default=None, metadata=means("Where the study's database is served.")
    )
    generator: Generator | None = field(
        default=None, metadata=means("How runs of the study are executed.")
    )
    walltime: Seconds | None = field(
        default=None, metadata=means("The longest that a run may take.")
    )
    nproc: Count | None = field(default=None, metadata=means("How many cores a run uses."))
    mem: Memory | None = field(default=None, metadata=means("How much memory a run needs."))
    gpus: Amount | None = field(
        default=None, metadata=means("How many accelerators a run uses.")
    )
    partition: Text | None = field(
        default=None, metadata=means("The batch system's partition or queue.")
    )
    account: Text | None = field(default=None, metadata=means("The account that is charged."))
    module: Texts = field(default=(), metadata=means("Environment modules to load."))
    modules: Texts = field(default=(), metadata=means("Environment modules to load."))
    array: Flag = field(
        default=False, metadata=means("Whether batch jobs are submitted as arrays.")
    )
    pack: Count | None = field(
        default=None, metadata=means("How many runs share one batch job, one after the other.")
    )
    checkpoint_signal: Checkpoint | None = field(
        default=None,
        metadata=means(
            "The signal that a run gets before its walltime is over, and how long"
            " before; after that it is tried again only if it has made progress."
        ),
    )
    artifacts: Artifacts = field(
        default_factory=dict,
        metadata=means(
            "What finished runs deposit in the workflow's `artifacts`: names, each with"
            " a pattern of files or directories in the run directory."
        ),
    )
    blackdynamite: Literal["installed"] | None = field(
        default=None,
        metadata=means("`installed`: scripts import an installed BlackDynamite, not Motoko's."),
    )

    @cached_property
    def policy(self) -> FailurePolicy:
        """What becomes of a run that failed: ``on_failure`` and ``retry`` together."""
        return combined(self.on_failure, self.retry if "retry" in self._given else None)
