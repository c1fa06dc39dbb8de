"""Pipelines: steps, and what has to be done before what; some that are ready to be used."""

from motoko.errors import CyclicSteps, DuplicateStep, UnknownStep
from motoko.pipeline.picture import picture
from motoko.pipeline.ready import READY, molecular_dynamics
from motoko.pipeline.steps import Pipeline, Step

__all__ = [
    "READY",
    "CyclicSteps",
    "DuplicateStep",
    "Pipeline",
    "Step",
    "UnknownStep",
    "molecular_dynamics",
    "picture",
]
