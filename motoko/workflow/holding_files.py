"""Being the process that holds the databases of a workflow: its server.

It is told what to hold, and reads no file of the workflow's: what these take to be understood
would be most of what it takes to start, and much of its memory. Who starts and stops it is
`control`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from motoko.crashpoints import reached
from motoko.store.address import Served
from motoko.store.server import serve
from motoko.workflow.places import how_served, server_office_in

log = logging.getLogger(__name__)


def run_server(
    state_dir: Path,
    files: Sequence[Served],
    stop: threading.Event,
    ready: Callable[[], object],
    *,
    takeover: bool = False,
) -> str:
    """Be the server until ``stop`` is set or the files are gone; says which, in words."""
    office = server_office_in(state_dir)
    facts = {"files": [str(one.file) for one in files], "places": how_served(files)}
    office.take(facts, takeover=takeover)
    reached("server.taken")

    def tell(lack: str) -> None:
        trouble = {"what": f"{office.what} takes no further connections", "why": lack}
        with suppress(OSError):
            office.update({**facts, "troubles": [trouble] if lack else []})

    try:
        office.wait_for_the_old_one()
        why = serve(files, stop, ready, lambda: office.loss, tell)
        log.info("%s ends: %s", office.what, why)
        return why
    finally:
        office.leave()
