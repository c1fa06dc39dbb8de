"""The frozen models of ``motoko.yaml`` and ``bd.yaml``; the JSON Schema comes from them too."""

from __future__ import annotations

from collections.abc import (
    Collection,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from motoko.config.checkpoint import Checkpoint
from motoko.config.document import Document
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
from motoko.config.sections import Section
from motoko.config.sentinels import Sentinels
from motoko.config.values import JOB_CONVERTERS, TYPES, UNSET, Refused, TypeName, worked_out
from motoko.errors import Mistake
from motoko.paths import PIPELINE_ORCHESTRATOR
from motoko.phrases import nearest


class TaskManagerConfig(Section):
    """What ``motoko.yaml`` says about one study."""

    host: Host | None = Field(
        None, description="Where the study's database is served; absent: a local socket."
    )
    insecure: Flag = Field(
        False, description="Whether its database is spoken to over TCP without any TLS."
    )

    @model_validator(mode="before")
    @classmethod
    def _may_be_empty(cls, value: Any) -> Any:
        return mapping_of("settings of a task manager, or nothing")(value)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class FieldConfig(Section):
    """A declared parameter of jobs or entry of runs: its type, and a default perhaps."""

    type: TypeName = Field(description="What values it takes.")
    default: Any = Field(
        UNSET,
        description="The value of jobs, or runs, that do not give one.",
        json_schema_extra=_without_default,
    )

    @property
    def has_default(self) -> bool:
        """Whether there is a default; an empty one (``default:``) is none."""
        return self.default is not UNSET

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
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

    _file: Path = PrivateAttr(default=Path())
    _raw: Mapping[str, Any] = PrivateAttr(default_factory=dict)
    _warnings: tuple[Mistake, ...] = PrivateAttr(default=())

    @classmethod
    def from_document(
        cls,
        document: Document,
        file: Path,
        warnings: tuple[Mistake, ...],
        without: Collection[str] = (),
    ) -> Self:
        """The model of a file that was read; pydantic's ValidationError says what is wrong.

        Keys that it shall do ``without`` have their defaults, or stand-ins.
        """
        present = cls.present(document.data)
        if without:
            present = {key: value for key, value in present.items() if key not in without}
            present = {**cls._stand_ins, **present}
        config = cls.model_validate(present)
        config._file = file.absolute()
        config._raw = document.data
        config._warnings = warnings
        return config

    @classmethod
    def present(cls, data: Mapping[Any, Any]) -> dict[str, Any]:
        """The keys that have a value (``walltime:`` alone says nothing) or may be empty."""
        return {
            str(key): value
            for key, value in data.items()
            if value is not None or key in cls._may_be_empty
        }

    _may_be_empty: ClassVar[frozenset[str]] = frozenset()
    #: For what a file must have, where it is wrong or missing.
    _stand_ins: ClassVar[Mapping[str, Any]] = {}

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

    def __getitem__(self, key: str) -> Any:
        return self._raw[key]

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
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


class WorkflowConfig(FileConfig):
    """``motoko.yaml``: the studies of a workflow and what orchestrates them."""

    _stand_ins: ClassVar[Mapping[str, Any]] = {
        "task_managers": {},
        "orchestrator": "orchestrator.main",
    }

    _is_alone: bool = PrivateAttr(default=False)

    @classmethod
    def of_study(cls, study: StudyConfig) -> Self:
        """The workflow that a study without ``motoko.yaml`` is by itself."""
        host = {} if study.host is None else {"host": study.host}
        config = cls.model_validate({**cls._stand_ins, "task_managers": {study.study: host}})
        config._file = study.file
        config._raw = study._raw
        config._warnings = study.warnings
        config._is_alone = True
        return config

    @classmethod
    def of_studies(cls, file: Path, names: Iterable[str]) -> Self:
        """What stands for a file that says nothing to be relied on: these studies."""
        managers = dict.fromkeys(names)
        config = cls.model_validate({**cls._stand_ins, "task_managers": managers})
        config._file = file.absolute()
        return config

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
        dict[str, TaskManagerConfig], BeforeValidator(mapping_of("study directories"))
    ] = Field(description="One study each: the name of its directory, and settings or nothing.")
    orchestrator: Orchestrator = Field(
        description="The async function to run, as module.function, in a file beside this one."
    )
    aliases: Annotated[dict[str, Text], BeforeValidator(mapping_of("task managers"))] = Field(
        default_factory=dict, description="Further names of task managers."
    )
    generator: Generator = Field("bash", description="How runs are executed.")
    host: TcpHost | None = Field(
        None,
        description="Where all databases of the workflow, its own among them, are served over"
        " TCP; absent: on local sockets.",
    )
    certificates: Text = Field(
        ".certs",
        description="The directory of the certificates for TCP, beside the file or anywhere.",
    )
    insecure: Flag = Field(
        False, description="Whether databases are spoken to over TCP without any TLS."
    )
    max_concurrent: Count | None = Field(
        None, description="How many runs may execute at once, over all studies."
    )
    max_submitted: Count | None = Field(
        None, description="How many batch jobs may be queued at once, over all studies."
    )
    pipeline: (
        Annotated[PipelineConfig, BeforeValidator(mapping_of("steps and systems"))] | None
    ) = Field(None, description="Steps that are done for each of many systems, in their order.")

    @model_validator(mode="before")
    @classmethod
    def _orchestrated_by_its_pipeline(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("pipeline") is not None:
            return {"orchestrator": PIPELINE_ORCHESTRATOR, **value}
        return value


Fields = Annotated[dict[str, FieldConfig], BeforeValidator(mapping_of("names to types"))]
Values = Annotated[dict[str, Any], BeforeValidator(mapping_of("names to values"))]


class StudyConfig(FileConfig):
    """``bd.yaml``: the parameters of a study and how its runs are executed."""

    _may_be_empty: ClassVar[frozenset[str]] = frozenset({"job"})
    _stand_ins: ClassVar[Mapping[str, Any]] = {"study": "unnamed", "job": {}}

    study: Name = Field(description="The study's name.")
    job: Fields = Field(description="The parameters of a job and their types.")
    run: Fields = Field(
        default_factory=dict, description="Entries that runs have besides the built-in ones."
    )
    job_space: Values = Field(
        default_factory=dict,
        description="Default values of parameters; a list (or `range(3)`) is a dimension.",
    )
    run_space: Values = Field(
        default_factory=dict,
        description="Default values of run entries; a list is a dimension.",
    )
    run_params: Values = Field(
        default_factory=dict, description="Default values of run entries."
    )
    config_files: Texts = Field(
        (), description="Files that every run directory gets, relative to the study."
    )
    exec_file: Text = Field("launch.sh", description="The bash script that a run executes.")
    completion: Literal["exit", "explicit"] = Field(
        "exit", description="Whether a run is over when its script ends, or when it says so."
    )
    on_failure: OnFailure | None = Field(
        None, description="What becomes of a run that failed; absent: `keep`."
    )
    retry: RetryPolicy = Field(
        DEFAULT_RETRY,
        description="How many further attempts a run gets by itself, by class of failure.",
    )
    sentinels: Sentinels | None = Field(
        None, description="Files that say that the work of a run is finished, or has failed."
    )
    carry_over: Texts = Field(
        (), description="Files and directories that an attempt leaves for the next one."
    )
    max_concurrent: Count | None = Field(
        None, description="How many runs of the study may execute at once."
    )
    max_submitted: Count | None = Field(
        None, description="How many batch jobs of the study may be queued at once."
    )
    outpath: Text | None = Field(None, description="Where run directories lie, if elsewhere.")
    machine_name: Text | None = Field(None, description="The machine that runs are meant for.")
    host: Host | None = Field(None, description="Where the study's database is served.")
    generator: Generator | None = Field(None, description="How runs of the study are executed.")
    walltime: Seconds | None = Field(None, description="The longest that a run may take.")
    nproc: Count | None = Field(None, description="How many cores a run uses.")
    mem: Memory | None = Field(None, description="How much memory a run needs.")
    gpus: Amount | None = Field(None, description="How many accelerators a run uses.")
    partition: Text | None = Field(None, description="The batch system's partition or queue.")
    account: Text | None = Field(None, description="The account that is charged.")
    module: Texts = Field((), description="Environment modules to load.")
    modules: Texts = Field((), description="Environment modules to load.")
    array: Flag = Field(False, description="Whether batch jobs are submitted as arrays.")
    pack: Count | None = Field(
        None, description="How many runs share one batch job, one after the other."
    )
    checkpoint_signal: Checkpoint | None = Field(
        None,
        description="The signal that a run gets before its walltime is over, and how long"
        " before; after that it is tried again only if it has made progress.",
    )
    artifacts: Artifacts = Field(
        default_factory=dict,
        description="What finished runs deposit in the workflow's `artifacts`: names, each with"
        " a pattern of files or directories in the run directory.",
    )
    blackdynamite: Literal["installed"] | None = Field(
        None,
        description="`installed`: scripts import an installed BlackDynamite, not Motoko's.",
    )

    @field_validator("retry")
    @classmethod
    def _agrees_with_policy(cls, value: Retry, info: ValidationInfo) -> Retry:
        combined(info.data.get("on_failure"), value)
        return value

    @cached_property
    def policy(self) -> FailurePolicy:
        """What becomes of a run that failed: ``on_failure`` and ``retry`` together."""
        return combined(
            self.on_failure, self.retry if "retry" in self.model_fields_set else None
        )

    @field_validator("job", "run", "job_space", "run_space", "run_params")
    @classmethod
    def _lower_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {name.lower(): entry for name, entry in value.items()}

    @field_validator("job_space")
    @classmethod
    def _work_out(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        types = {name: field.type for name, field in info.data.get("job", {}).items()}
        found = dict(value)
        for name, given in value.items():
            with suppress(Refused):  # which is told with the line that it stands in
                found[name] = worked_out(types.get(name), given)
        return found
