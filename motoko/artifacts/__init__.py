"""Files and directories worth keeping, in one place, under names, with their digests."""

from __future__ import annotations

from motoko.artifacts.manifest import Artifact
from motoko.artifacts.store import ArtifactStore, Problem, ToPut, existing_store

__all__ = ["Artifact", "ArtifactStore", "Problem", "ToPut", "existing_store"]
