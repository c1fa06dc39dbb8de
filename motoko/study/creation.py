"""What a call that makes tasks asks of the database: points, and what their runs are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from motoko.columns import BEHIND, FIXED, REQUIRED, UNDECLARED
from motoko.config import StudyConfig
from motoko.errors import SchemaError
from motoko.model.schema import Field, Schema
from motoko.model.space import merge, plain
from motoko.store.operations import CreateTasks
from motoko.store.tables import TaskIdentity

#: What a pipeline gives the runs that it makes; all others are refused it before.
_OF_PIPELINES = frozenset({REQUIRED, BEHIND})


@dataclass(frozen=True)
class Creation:
    """How the tasks of one call are made.

    What is not given comes from ``job_space``, ``run_space`` and ``run_params`` of
    ``bd.yaml``. All raise SchemaError for unknown names and values of the wrong type.
    """

    #: Of the study, for messages.
    name: str
    config: StudyConfig
    schema: Schema
    #: What runs have that are made now: also what somebody else has declared in the database
    #: since this process has read ``bd.yaml``.
    entries: Mapping[str, Field]
    #: The files that the runs are given; None for tasks that are only looked for.
    manifest: Mapping[str, Any] | None
    run_name: str
    event_name: str = ""

    def over_space(
        self, given: Mapping[str, Any], run_params: Mapping[str, Any] | None
    ) -> Iterator[CreateTasks]:
        """The tasks of each point of a space."""
        if run_params is not None and not isinstance(run_params, Mapping):
            found = f"found {type(run_params).__name__}"
            raise SchemaError(self.name, "run_params", found, "expected a mapping")
        space = merge(self.config.job_space, self.schema.lower_names(given))
        yield from self._at(plain(space, self.schema), run_params or {})

    def on_job(
        self, job: Mapping[str, Any], run_params: Mapping[str, Any]
    ) -> Iterator[CreateTasks]:
        """The tasks of one job that is there."""
        point = {name: [value] for name, value in job.items() if name != "id"}
        yield from self._at(point, run_params)

    def _at(
        self, space: Mapping[str, Any], run_params: Mapping[str, Any]
    ) -> Iterator[CreateTasks]:
        params = merge(self.config.run_params, self.schema.lower_names(run_params))
        for chosen in self._run_points(params):
            yield self._operation(space, chosen)

    def _run_points(self, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The run parameters of each run on a job: given ones over those of ``run_space``,
        and these over defaults; a list in ``run_space`` gives a run for each of its values."""
        defaults = {f.name: f.default for f in self.entries.values() if f.has_default}
        types = {name: field.type for name, field in self.schema.run.items()}
        axes = {
            name: values if isinstance(values, list) and types.get(name) != "list" else [values]
            for name, values in self.config.run_space.items()
            if name not in params
        }
        for values in product(*axes.values()):
            yield {**defaults, **params, **dict(zip(axes, values, strict=True))}

    def _operation(
        self, space: Mapping[str, Any], run_params: Mapping[str, Any]
    ) -> CreateTasks:
        params = self.schema.convert_run(run_params)
        for name in params:
            if name in FIXED - _OF_PIPELINES or name == "state":
                raise SchemaError(
                    self.name, name, "is kept by Motoko itself", "choose another name"
                )
        self.schema.check_limits(params)
        identifying = sorted({*self.entries, *UNDECLARED})
        found = {name: params.pop(name, None) for name in identifying}
        declared = {name: value for name, value in found.items() if value is not None}
        identity = TaskIdentity(
            run_name=self.run_name,
            nproc=int(params.pop("nproc", None) or self.config.nproc or 1),
            machine_name=str(
                params.pop("machine_name", None) or self.config.machine_name or ""
            ),
            declared=tuple(declared.items()),
        )
        entries = {**params, "event_name": self.event_name}
        return CreateTasks(space, identity, entries, self.manifest)
