"""A workflow's background processes and databases: making, starting, stopping, asking.

One server of all local databases, one launcher, one orchestrator for each run name: each holds
an office in ``.wf``, so that there is one of it.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from motoko import daemon
from motoko.config import keep
from motoko.daemon import Office, Owner
from motoko.errors import (
    AlreadyRunning,
    ConfigError,
    DatabaseLost,
    ForeignOwner,
    MotokoError,
    NotRunning,
    StartFailed,
    StudyNotFound,
)
from motoko.paths import LAUNCHER_LOG, SERVER_LOG, WORKFLOW_DATABASE, WORKFLOW_LOG
from motoko.store import layout
from motoko.study.packed import n_packed
from motoko.study.presence import check_not_cut_short
from motoko.study.study import shared_places
from motoko.workflow import whereabouts
from motoko.workflow.custody import Custody, using
from motoko.workflow.places import (
    address,
    has_many_hosts,
    how_served,
    launcher_office_in,
    served,
    server_office_in,
)
from motoko.workflow.restarts import until_it_stands

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

_START_S = 30.0
_LONGEST_NAME = 200  # file systems take 255 bytes


def server_office(workflow: Workflow) -> Office:
    """Who serves the databases."""
    return server_office_in(workflow.state_dir)


def launcher_office(workflow: Workflow) -> Office:
    """Who launches the runs."""
    return launcher_office_in(workflow.state_dir)


def launcher_log(workflow: Workflow) -> Path:
    """The log of the launcher."""
    return workflow.state_dir / LAUNCHER_LOG


def server_log(workflow: Workflow) -> Path:
    """The log of the database server."""
    return workflow.state_dir / SERVER_LOG


def orchestrator_file(workflow: Workflow, run_name: str | None = None) -> Path:
    """The file of the office of a run name's orchestrator."""
    name = run_name or workflow.run_name or ""
    text = quote(name, safe="", errors="surrogatepass")
    if len(text) > _LONGEST_NAME:
        text = f"{text[:_LONGEST_NAME]}-{blake2b(text.encode(), digest_size=6).hexdigest()}"
    return workflow.state_dir / f"orchestrator-{text}.lock"


def orchestrator_office(workflow: Workflow, run_name: str) -> Office:
    """Who orchestrates a run name."""
    stop = shlex.join(["stop", str(workflow.directory), "--run_name", run_name])
    what = f"the orchestrator of run name {run_name!r}"
    return Office(orchestrator_file(workflow, run_name), what, f"motoko orchestrator {stop}")


def died_orchestrator(workflow: Workflow, run_name: str) -> Owner | None:
    """The last orchestrator of a run name, if it ended neither in good order nor when asked."""
    office = orchestrator_office(workflow, run_name)
    return office.last_owner() if office.has_died else None


def log_file(workflow: Workflow) -> Path:
    """The log of the workflow's orchestrators."""
    return workflow.state_dir / WORKFLOW_LOG


def orchestrators(workflow: Workflow) -> dict[str, Owner]:
    """The orchestrators that run now, by run name."""
    found = {}
    for file in sorted(workflow.state_dir.glob("orchestrator-*.lock")):
        owner = Office(file, "the orchestrator").owner()
        if owner is not None:
            found[str(owner.facts.get("run_name", ""))] = owner
    return found


def place(workflow: Workflow) -> str:
    """What names it on a command line: its directory, or the ``bd.yaml`` of a study that is
    one by itself."""
    return workflow.config_path if workflow.config.is_alone else str(workflow.directory)


def start_server(workflow: Workflow, *, takeover: bool = False) -> Owner | None:
    """Start the server in the background, unless it runs; who it is.

    A server that does not hold all of the workflow's databases is replaced, and with
    ``takeover`` one on another host, else a ForeignOwner. Another machine's is only told of.
    """
    office = server_office(workflow)
    if not address(workflow).is_here:
        return office.owner()
    check_not_lost(workflow)
    files = served(workflow)
    wanted, places = {str(one.file) for one in files}, set(how_served(files))
    with using(workflow, office) as use:
        owner = _owner_here(office, takeover)
        facts = {} if owner is None else owner.facts
        is_short = not wanted <= {*facts.get("files", wanted)}
        is_short = is_short or not places <= {*facts.get("places", places)}
        if is_short or _is_ending(office):
            _end(office)
            owner = None
        if owner is None:
            for one in files:
                layout.check_not_cut(Path(one.file))
            command = daemon.python_command("server", "serve", str(workflow.state_dir))
            command += [json.dumps(one.as_data()) for one in files]
            if takeover:
                command.append("--takeover")
            use.started(
                _start(command, office, server_log(workflow), use, workflow.started_early)
            )
            _keep_files(workflow)  # for the launcher, which may be started next
        return _present(office)


def _keep_files(workflow: Workflow) -> None:
    """Keep what the files say for all processes that are started later."""
    for config in (workflow.config, *(m.bd_config for m in workflow.task_managers.values())):
        keep(config)


def _is_ending(office: Office) -> bool:
    """Whether its holder was asked to end and is still there: whoever asked may have died."""
    owner = office.owner()
    return office.was_stopped and owner is not None and owner.is_here


def _end(office: Office) -> None:
    with suppress(NotRunning):
        daemon.stop(office)


def _start(
    command: list[str],
    office: Office,
    log_file: Path,
    use: daemon.Use,
    early: daemon.Early | None,
) -> int | None:
    """Start it; its process id, or None if somebody was faster."""
    try:
        return daemon.start(
            command, office.what, log_file, _START_S, spawned=use.spawned, early=early
        )
    except MotokoError:
        if _owner_here(office, takeover=True) is None:
            raise
        return None


def _owner_here(office: Office, takeover: bool) -> Owner | None:
    """Who holds the office on this host; ForeignOwner for another, unless it is replaced."""
    owner = office.owner()
    if owner is not None and not owner.is_here:
        if not takeover:
            raise ForeignOwner(office.what, str(owner))
        return None
    return owner


def check_takeover(workflow: Workflow, run_name: str | None) -> None:
    """ForeignOwner, before anything is started, if some process is another host's that has to
    be one of this."""
    offices = [server_office(workflow)] if address(workflow).is_here else []
    if not has_many_hosts(workflow):
        offices.append(launcher_office(workflow))
    if run_name:
        offices.append(orchestrator_office(workflow, run_name))
    for office in offices:
        _owner_here(office, takeover=False)


def _present(office: Office) -> Owner:
    owner = _owner_here(office, takeover=False)
    if owner is None:
        raise NotRunning(office.what)
    return owner


@contextmanager
def in_custody(workflow: Workflow, *, is_passing: bool = True) -> Iterator[Custody]:
    """What is started in the block of server and launcher ends with it, or with the last
    command that uses it; unless it ``is_passing`` it stays. Inside another one this is that."""
    if workflow.custody is not None:
        yield workflow.custody
        return
    offices = launcher_office(workflow), server_office(workflow)
    custody = workflow.custody = Custody(*offices, is_passing=is_passing)
    try:
        yield custody
    finally:
        workflow.custody = None
        workflow.close()
        custody.end()


@contextmanager
def server_kept_as_it_was(workflow: Workflow) -> Iterator[None]:
    """Afterwards the server runs only if it did before, or if somebody uses it by then."""
    with in_custody(workflow):
        yield


def is_created(workflow: Workflow) -> bool:
    """Whether all databases exist. ForeignDatabase for one that is not ours, DatabaseLost for
    one that is gone while directories of runs are there."""
    studies = [manager.base.is_created for manager in workflow.task_managers.values()]
    return is_there(workflow) and all(studies)


def is_there(workflow: Workflow) -> bool:
    """Whether the workflow's own database exists; DatabaseLost if it is gone while directories
    of runs are there."""
    file = workflow.state_dir / WORKFLOW_DATABASE
    if layout.has_content(file):
        return True
    studies = [manager.base for manager in workflow.task_managers.values()]
    n_runs = sum(study.n_recorded + n_packed(study) for study in studies)
    if n_runs:
        why = f"is gone with variables and firings, and directories of {n_runs} runs are there"
        raise DatabaseLost(str(file), why, n_runs)
    layout.check_not_emptied(file)
    return False


def check_not_lost(workflow: Workflow) -> None:
    """DatabaseLost or ForeignDatabase, rather than that a new one is made in its place."""
    is_created(workflow)


def require_created(workflow: Workflow) -> None:
    """StudyNotFound unless all databases exist."""
    if not is_created(workflow):
        raise StudyNotFound(str(workflow.directory), layout.NO_DATABASE)


def ensure_running(
    workflow: Workflow,
    generator: str | None = None,
    studies: tuple[str, ...] = (),
    *,
    takeover: bool = False,
    tells_rest: bool = False,
) -> None:
    """Start what does not run of server and launcher, and connect to all databases.

    What dies meanwhile is started again. ForeignOwner for what another host has, unless it is
    taken over, and MovedOrCopied, before anything is started, for databases of which nobody has
    said what they are.
    """
    whereabouts.check_own(workflow)

    def bring_up() -> None:
        server = _serve(workflow, takeover)
        whereabouts.record(workflow)  # a copy may be made from now on
        try:
            start_launcher(
                workflow, generator, studies, takeover=takeover, tells_rest=tells_rest
            )
        except StartFailed as error:
            office = server_office(workflow)
            if office.owner() != server:  # of which the launcher has died
                raise NotRunning(office.what) from error
            raise

    _bring_up(workflow, bring_up, [server_office(workflow), launcher_office(workflow)])
    if workflow.started_early is not None:
        workflow.started_early.dismiss()  # what there was to be started is there


def ensure_served(workflow: Workflow, *, takeover: bool = False) -> None:
    """Start the server if it does not run, connect to all databases, make those missing.

    One that dies meanwhile is started again. MovedOrCopied, before anything is started, for
    databases of which nobody has said what they are.
    """
    whereabouts.check_own(workflow)
    serve_as_it_is(workflow, takeover=takeover)
    whereabouts.record(workflow)
    _keep_files(workflow)


def serve_as_it_is(workflow: Workflow, *, takeover: bool = False) -> None:
    """As `ensure_served`, wherever the databases were before."""
    _bring_up(workflow, lambda: _serve(workflow, takeover), [server_office(workflow)])


def _bring_up(
    workflow: Workflow, bring_up: Callable[[], object], offices: Sequence[Office]
) -> None:
    if address(workflow).is_here:
        until_it_stands(bring_up, offices, lambda: _is_hurried(workflow))
    else:
        bring_up()  # what is wrong with another machine's server is not mended by waiting


def _serve(workflow: Workflow, takeover: bool) -> Owner | None:
    studies = (manager.base for manager in workflow.task_managers.values())
    if mistakes := list(shared_places(study.config for study in studies)):
        raise ConfigError(mistakes)
    owner = start_server(workflow, takeover=takeover)
    for database in workflow.databases:
        database.connect()
    for manager in workflow.task_managers.values():
        check_not_cut_short(manager.base)
    workflow.initialise(extends=False)
    workflow.recover()  # what that makes was made before anything else was declared
    workflow.initialise()
    return owner


def _is_hurried(workflow: Workflow) -> bool:
    return any(database.is_hurried for database in workflow.databases)


# the launcher


def start_launcher(
    workflow: Workflow,
    generator: str | None = None,
    studies: tuple[str, ...] = (),
    *,
    takeover: bool = False,
    only: Path | None = None,
    tells_rest: bool = False,
) -> Owner:
    """Start the launcher in the background, unless it runs; who it is.

    ForeignOwner for one on another host, unless it is taken over, or works from there. ``only``
    is a file of `write_chosen`, which has been read when this returns: AlreadyRunning for any
    other launcher; one that was started with such is replaced by whoever wants all runs.
    """
    office = launcher_office(workflow)
    is_any = not takeover and only is None
    there = office.owner() if is_any and has_many_hosts(workflow) else None
    if there is not None and there.is_foreign:
        return there
    with using(workflow, office) as use:
        owner = _owner_here(office, takeover)
        is_ending = _is_ending(office)
        if only is not None and not is_ending:
            check_no_launcher(office)
        is_short = owner is not None and owner.facts.get("is_limited", False)
        if owner is not None and (is_ending or is_short or _is_outdated(workflow, owner)):
            chosen_generator, chosen_studies = _chosen(workflow, owner.facts)
            generator, studies = generator or chosen_generator, studies or chosen_studies
            tells_rest = tells_rest or _tells_rest(owner.facts)
            if not is_ending:
                log.info("the launcher is replaced: studies or their files have changed")
            _end(office)
            owner = None
        if owner is None:
            command = _launcher_command(workflow, generator, studies, takeover)
            if only is not None:
                command += ["--only", str(only)]
            command += ["--tell-rest"] * tells_rest
            log_file, early = launcher_log(workflow), workflow.started_early
            pid = _start(command, office, log_file, use, early)
            use.started(pid)
            if only is not None and pid is None:
                check_no_launcher(office)
        return _present(office)


def check_no_launcher(office: Office) -> None:
    """AlreadyRunning for a launcher, where one is wanted that begins chosen runs alone."""
    owner = office.owner()
    if owner is not None:
        which = "others than these" if owner.facts.get("is_limited") else "all"
        raise AlreadyRunning(office.what, f"{owner}; it begins {which}: stop it first")


def _launcher_command(
    workflow: Workflow, generator: str | None, studies: Sequence[str], takeover: bool
) -> list[str]:
    command = daemon.python_command("launcher", "serve", place(workflow))
    if generator is not None:
        command += ["--generator", generator]
    for name in studies:
        command += ["--bd_study", name]
    if takeover:
        command.append("--takeover")
    return command


def _is_outdated(workflow: Workflow, owner: Owner) -> bool:
    """Whether a launcher does not know all studies that it should, or older files of them."""
    missing = set(workflow.task_managers) - set(owner.facts.get("studies", ()))
    is_short = bool(missing) and not _chosen(workflow, owner.facts)[1]
    return is_short or owner.facts.get("files") != files_mark(workflow)


def files_mark(workflow: Workflow) -> str:
    """Stands for the content of ``motoko.yaml`` and every ``bd.yaml``."""
    mark = blake2b(digest_size=8)
    configs = [workflow.config, *(m.base.config for m in workflow.task_managers.values())]
    for config in configs:
        mark.update(config.file.read_bytes() + b"\0")
    return mark.hexdigest()


def restart_launcher(workflow: Workflow) -> Owner:
    """Start a launcher with what somebody chose for the last one; the rest is as configured."""
    last = launcher_office(workflow).last_owner()
    facts = last.facts if last is not None else {}
    return start_launcher(workflow, *_chosen(workflow, facts), tells_rest=_tells_rest(facts))


def _tells_rest(facts: Mapping[str, Any]) -> bool:
    """Whether a launcher tells when there is nothing to do: somebody waits for that."""
    return facts.get("is_at_rest") is not None


def _chosen(workflow: Workflow, facts: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The generator, and the studies as far as they are there, that somebody chose for a
    launcher; None and () for what ``motoko.yaml`` says."""
    chosen = facts.get("chosen", {})
    there = (name for name in chosen.get("studies", ()) if name in workflow.task_managers)
    return chosen.get("generator"), tuple(there)


def stop_all(workflow: Workflow, *, at_once: bool = False) -> list[str]:
    """Stop orchestrators, launcher and server; what was stopped, in words.

    With ``at_once`` they are killed instead of being asked to end.
    """
    offices = [orchestrator_office(workflow, name) for name in orchestrators(workflow)]
    offices += [launcher_office(workflow), server_office(workflow)]
    stopped = []
    for office in offices:
        with suppress(NotRunning):
            owner = daemon.stop(office, at_once=at_once)
            stopped.append(f"{office.what} ({owner})")
    return stopped
