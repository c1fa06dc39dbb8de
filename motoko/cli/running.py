"""What ``motoko run`` and ``motoko orchestrator start`` do."""

from __future__ import annotations

import logging
import shlex
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motoko import daemon
from motoko.cli import (
    anew,
    daemons,
    exit_codes,
    failures,
    interrupts,
    output,
    parting,
    run_options,
    views,
    words,
)
from motoko.cli.failures import Stopped
from motoko.cli.logs import Latest, is_shown_on_stderr, warn_on_stderr
from motoko.cli.orchestration import Orchestration, closing_line, left_line, still_running
from motoko.cli.own_options import PREFIX, split
from motoko.cli.places import load_to_look
from motoko.crashpoints import reached
from motoko.errors import (
    ActionFailed,
    AlreadyRunning,
    DatabaseLost,
    ForeignDatabase,
    ForeignOwner,
    MotokoError,
    MovedOrCopied,
    NoSpaceLeft,
    RestoreUnfinished,
    RunNameMissing,
    RunsFailed,
    StartFailed,
    WorkflowMoved,
)
from motoko.starter import is_awaited
from motoko.store.patience import patiently
from motoko.study import differences, files
from motoko.workflow import control, deposits, resuming, whereabouts
from motoko.workflow.custody import Custody
from motoko.workflow.generators import check_generators
from motoko.workflow.orchestration import taken
from motoko.workflow.pipelines import redone
from motoko.workflow.upkeep import run_names
from motoko.workflow.upkeep.keeper import Keeper

if TYPE_CHECKING:
    from motoko.cli.parting import Parting
    from motoko.cli.run_options import Call, Request
    from motoko.workflow.upkeep.run_names import Chosen
    from motoko.workflow.views.progress import Progress
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

T = TypeVar("T")

_N_EVENTS = 5
#: Of parameters that changed, so many are shown at least, and what else is said takes so much.
_LEAST_SHOWN, _OTHER_LINES = 5, 6
_GOES_ON = (exit_codes.PROCESSES, exit_codes.DATABASE)
_NEEDS_MORE = (
    AlreadyRunning,
    ForeignOwner,
    MovedOrCopied,
    DatabaseLost,
    RestoreUnfinished,
    ForeignDatabase,
)
_GO_ON = "nothing is lost: once that is mended, the same command goes on"


@contextmanager
def _in_custody(workflow: Workflow) -> Iterator[Custody]:
    """What comes up in the block ends with it, unless it was left."""
    custody = None
    refusal: MotokoError | None = None
    try:
        with control.in_custody(workflow) as custody:
            yield custody
    except MotokoError as error:
        refusal = error
        raise
    finally:
        if custody is not None and custody.is_passed_on:
            names = ", ".join(map(repr, control.orchestrators(workflow)))
            _say_after(refusal, f"server and launcher go on for {names or 'another command'}")


def _say_after(refusal: MotokoError | None, text: str) -> None:
    """Say what goes on, after why this one does not."""
    if refusal is None:
        click.echo(text, err=True)
    else:
        refusal.add_note(text)


def run(call: Call) -> int:
    """Run a workflow from its files to its end, or until it is left; the exit code."""
    with _never_silent(call):
        request = run_options.read(call)
        leaving = parting.parting_of(request)
        code = _run(request, leaving)
        return leaving.conclude(request.workflow, code)


@contextmanager
def _never_silent(call: Call) -> Iterator[None]:
    """A signal before anything was begun, such as those that came already, or after its end:
    others may run."""
    with interrupts.raising():
        try:
            if call.signals:
                raise Stopped(call.signals[0])
            yield
        except (Stopped, KeyboardInterrupt) as stopped:
            if isinstance(stopped, Stopped) and stopped.is_said:
                raise
            interrupts.be_deaf()
            by = str(stopped) or "SIGINT"
            with suppress(MotokoError, click.ClickException):
                found = split(call.arguments, call.declare)
                if found is not None:
                    _say_what_runs(load_to_look(str(found.directory)), None, by)
            raise Stopped(signal.Signals[by]) from None


def _run(request: Request, leaving: Parting) -> int:
    workflow = request.workflow
    generator = request.mine[f"{PREFIX}generator"]
    check_generators(workflow, workflow.task_managers, generator)
    given = request.mine[f"{PREFIX}run_name"]
    if given is not None:
        _check_free(workflow, given)
    with (
        _stopped_in_words(workflow) as ending,
        _in_custody(workflow) as custody,
        ExitStack() as stack,
    ):
        _check_place(request)
        if given is not None:  # whoever asks for the same name meanwhile hears so at once
            workflow.run_name = given
            _take(workflow, stack)
        _ensure_running(request, generator, tells_rest=leaving.is_once)
        _say_how_executed(workflow)
        keeper = stack.enter_context(_kept(workflow, restarts=True))
        chosen = _patiently(workflow, lambda: run_names.choose(workflow, given, request.rest))
        custody.adopt((chosen.facts or {}).get("daemons", ()))
        if given is None:
            workflow.run_name = chosen.run_name
            _take(workflow, stack)
        # Known from the start: who is killed leaves them to the next one of this run name.
        orchestration = _prepared(
            request, chosen, keeper, leave_when=leaving.watch(workflow), daemons=custody.pids()
        )
        ending.progress = orchestration.progress
        _announce(workflow, chosen)
        if leaving.is_foreground:
            stack.callback(leaving.end_local, workflow, generator)
        try:
            code = orchestration.run()
            leaving.has_left = orchestration.has_left
        except Stopped:
            if not leaving.is_foreground:
                _leave(custody, workflow)
            raise
        except Exception as error:
            if orchestration.n_active() and not leaving.is_foreground:
                _leave(custody, workflow)
                error.add_note(still_running(ending.there(), orchestration.n_active()))
            raise
        if workflow.exit_text:
            failures.say(workflow.exit_text)
        if leaving.has_left:
            click.echo(left_line(workflow, orchestration.progress))
            return code
        click.echo(closing_line(workflow, orchestration.progress, code))
        if orchestration.n_active() and not leaving.is_foreground:
            _leave(custody, workflow)
            click.echo(still_running(ending.there(), orchestration.n_active()), err=True)
        elif kept := custody.left_by_others():
            where = shlex.quote(str(workflow.directory))
            ran = f"{' and '.join(kept)} ran before and go{'es' if len(kept) == 1 else ''} on"
            click.echo(f"{ran}: `motoko kill {where}` ends what runs", err=True)
    return code


def _check_free(workflow: Workflow, run_name: str) -> daemon.Office:
    """The office of a run name's orchestrator; AlreadyRunning if one holds it on this host."""
    office = control.orchestrator_office(workflow, run_name)
    owner = office.owner()
    if owner is not None and owner.is_here:
        raise AlreadyRunning(office.what, str(owner), office.stop)
    return office


def _take(workflow: Workflow, stack: ExitStack) -> None:
    """Take the run name; say so if its last orchestrator could not say how it ended."""
    last = control.died_orchestrator(workflow, str(workflow.run_name))
    stack.enter_context(taken(workflow))
    if last is not None:
        click.echo(f"{daemons.died(last)}; see {control.log_file(workflow)}", err=True)


def _say_how_executed(workflow: Workflow) -> None:
    """Say what the user may not expect of how runs are executed here."""
    owner = control.launcher_office(workflow).owner()
    if owner is not None and owner.facts.get("limited"):
        click.echo(owner.facts["limited"], err=True)


def _check_place(request: Request) -> None:
    """Refuse, before anything is begun, what another host or place has."""
    takeover = request.mine[f"{PREFIX}takeover"]
    whereabouts.check(request.workflow)
    if not takeover:
        control.check_takeover(request.workflow, request.mine[f"{PREFIX}run_name"])
    request.workflow.takes_over = takeover


def _ensure_running(
    request: Request, generator: str | None = None, *, tells_rest: bool = False
) -> None:
    takeover = request.mine[f"{PREFIX}takeover"]
    run_name = request.mine[f"{PREFIX}run_name"]
    # Before a launcher begins in these directories.
    if request.mine[f"{PREFIX}clean_failures"] and control.is_created(request.workflow):
        anew.clear_failures(request.workflow, run_name=run_name)
    control.ensure_running(
        request.workflow, generator, takeover=takeover, tells_rest=tells_rest
    )


@contextmanager
def _kept(workflow: Workflow, *, restarts: bool) -> Iterator[Keeper]:
    """Somebody watches over server and launcher."""
    keeper = Keeper(workflow, restarts=restarts)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


def _patiently(workflow: Workflow, call: Callable[[], T]) -> T:
    """Make a call of the databases, waiting for a server that has died meanwhile; a full disk
    is said at once, while nothing has begun."""
    full: list[NoSpaceLeft] = []

    def tried() -> T | None:
        try:
            return call()
        except NoSpaceLeft as error:
            full.append(error)
            return None

    result: T = patiently(workflow.vars.db, tried)
    if full:
        raise full[-1]
    return result


def _record(workflow: Workflow, run_name: str, **facts: Any) -> None:
    _patiently(workflow, lambda: run_names.record(workflow, run_name, **facts))


def _leave(custody: Custody, workflow: Workflow) -> None:
    pids = custody.leave()
    with suppress(MotokoError):
        run_names.record(workflow, str(workflow.run_name), daemons=pids)


def start_orchestrator(call: Call) -> int:
    """Run only the orchestrator: here, or with ``--detach`` in the background."""
    with _never_silent(call):
        return _start_orchestrator(run_options.read(call))


def _start_orchestrator(request: Request) -> int:
    workflow = request.workflow
    run_name = request.mine[f"{PREFIX}run_name"]
    if run_name is None:
        raise RunNameMissing
    workflow.run_name = run_name
    office = _check_free(workflow, run_name)
    _check_place(request)
    if request.mine[f"{PREFIX}detach"]:
        _detach(request, office)
        return 0
    is_child = is_awaited()
    with (
        _stopped_in_words(workflow) as ending,
        control.in_custody(workflow, is_passing=False),
        ExitStack() as stack,
    ):
        _take(workflow, stack)
        _ensure_running(request)
        keeper = stack.enter_context(_kept(workflow, restarts=False))
        chosen = _patiently(
            workflow, lambda: run_names.choose(workflow, run_name, request.rest)
        )
        orchestration = _prepared(request, chosen, keeper, is_silent=is_child)
        ending.progress = orchestration.progress
        if not is_child:
            _announce(workflow, chosen)
        code = orchestration.run()
        if workflow.exit_text and not is_child:
            failures.say(workflow.exit_text)
        line = closing_line(workflow, orchestration.progress, code)
        if is_child:
            log.info("%s", line)
        else:
            click.echo(line)
    return code


@dataclass
class _Ending:
    """What there is to say of, once something was begun."""

    workflow: Workflow
    #: Says where its directory is, if that was moved.
    moved: Callable[[], WorkflowMoved | None]
    progress: Progress | None = None

    def there(self) -> Workflow:
        """The workflow where it was moved to, to look at; itself if it was not."""
        elsewhere = self.moved()
        if elsewhere is not None and elsewhere.now is not None:
            with suppress(MotokoError):
                there = load_to_look(elsewhere.now)
                there.run_name = self.workflow.run_name
                return there
        return self.workflow


@contextmanager
def _stopped_in_words(workflow: Workflow) -> Iterator[_Ending]:
    """When a signal ends the block: say, and keep in the log, what still runs. When something
    does that may be mended: say how it goes on, also in another place."""
    with interrupts.raising(), whereabouts.followed(workflow) as moved:
        ending = _Ending(workflow, moved)
        try:
            yield ending
        except (Stopped, KeyboardInterrupt) as stopped:
            interrupts.be_deaf()
            by = str(stopped) or "SIGINT"
            _say_what_runs(ending.there(), ending.progress, by)
            told = Stopped(signal.Signals[by])
            told.is_said = True
            raise told from None
        except (MotokoError, OSError) as error:
            elsewhere = moved()
            if elsewhere is not None and isinstance(error, ActionFailed | RunsFailed):
                error.add_note(str(elsewhere))
            elif elsewhere is not None:
                elsewhere.add_note(still_running(ending.there(), 0))
                raise elsewhere from error
            if isinstance(error, MotokoError) and _goes_on(workflow, error):
                error.add_note(_GO_ON)
            raise


def _goes_on(workflow: Workflow, error: MotokoError) -> bool:
    """Whether nothing is amiss but a process or a server that could not do its work."""
    code = exit_codes.of(error)
    if isinstance(error, StartFailed) and code == exit_codes.DATABASE:
        return error.what != control.server_office(workflow).what  # else a file is damaged
    return code in _GOES_ON and not isinstance(error, _NEEDS_MORE)


def _say_what_runs(workflow: Workflow, progress: Progress | None, by: str) -> None:
    what = f"the orchestrator of {workflow.run_name}" if progress else "during start-up"
    rest = still_running(workflow, progress.n_active() if progress else 0)
    if workflow.state_dir.is_dir():
        daemon.log_to(control.log_file(workflow))
        log.warning("stopped %s (%s)\n%s", what, by, rest)
    try:
        click.echo(f"stopped {what}\n{rest}", err=True)
    except OSError:
        failures.be_silent()


def _detach(request: Request, office: daemon.Office) -> None:
    workflow = request.workflow
    command = ["orchestrator", "start", str(workflow.directory), *request.rest]
    command += ["--run_name", str(workflow.run_name)]
    if request.mine[f"{PREFIX}wait"]:
        command += ["--wait", str(request.mine[f"{PREFIX}wait"])]
    if request.mine[f"{PREFIX}retry_failed"]:
        command += ["--retry-failed"]
    if request.mine[f"{PREFIX}accept_changes"]:
        command += ["--accept-changes"]
    if request.mine[f"{PREFIX}clean_failures"]:
        command += ["--clean-failures"]
    if request.mine[f"{PREFIX}takeover"]:
        command.append("--takeover")
    log_file = control.log_file(workflow)
    pid = daemon.start(daemon.python_command(*command), office.what, log_file)
    click.echo(f"started {office.what} (process {pid})")
    where = shlex.quote(str(workflow.directory))
    click.echo(f"watch it with `motoko orchestrator status {where} --follow`")


def _prepared(
    request: Request,
    chosen: Chosen,
    keeper: Keeper,
    *,
    is_silent: bool = False,
    leave_when: Callable[[], Awaitable[None]] | None = None,
    **facts: Any,
) -> Orchestration:
    workflow = request.workflow
    params = request.params(chosen.options)
    now = _check_parameters(request, chosen, params)
    if chosen.is_resumed:
        anew.follow_pipeline(workflow, _patiently)
    if request.mine[f"{PREFIX}retry_failed"]:
        anew.retry_failed(workflow, chosen.run_name, _patiently)
    begun = {"arguments": list(chosen.options), resuming.PARAMETERS: now}
    _record(workflow, chosen.run_name, **begun, **facts)
    reached("run.named")
    workflow.wait_s = request.mine[f"{PREFIX}wait"] or workflow.wait_s
    workflow.accepts_changes = request.mine[f"{PREFIX}accept_changes"]
    daemon.log_to(control.log_file(workflow))
    if not is_silent and not is_shown_on_stderr():
        warn_on_stderr(deposits.lack.name)
    view: views.View = views.Silent() if is_silent else views.Lines()
    if not is_silent and output.is_for_people() and not is_shown_on_stderr():
        latest = Latest(_N_EVENTS)
        logging.getLogger().addHandler(latest)
        view = views.Live(latest)
    elif not is_silent and not is_shown_on_stderr():
        warn_on_stderr(differences.__name__)
        warn_on_stderr(files.__name__)  # slips of the user's, in what runs are made with
        warn_on_stderr(redone.__name__)
    return Orchestration(workflow, params, view, keeper, leave_when)


def _check_parameters(
    request: Request, chosen: Chosen, params: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides on what is computed; ParametersChanged, unless the user accepts that."""
    now = resuming.parameters(request.workflow, params)
    changes = resuming.check(
        chosen.run_name,
        chosen.facts,
        now,
        is_accepted=request.mine[f"{PREFIX}accept_changes"],
        most_shown=max(_LEAST_SHOWN, shutil.get_terminal_size().lines - _OTHER_LINES),
    )
    if changes:
        click.echo(f"{words.counted(len(changes), 'parameter')} changed since it was begun")
    return now


def _announce(workflow: Workflow, chosen: Chosen) -> None:
    verb = "going on with" if chosen.is_resumed else "run name"
    options = f" ({shlex.join(chosen.options)})" if chosen.options else ""
    click.echo(f"{verb} {chosen.run_name}{options}")
    if finished := chosen.finished:
        click.echo(
            f"it had finished ({words.moment(finished)}): only what is new or was put back to"
            " CREATED is done; another run name computes all anew"
        )
    failed = run_names.failed(workflow, chosen.run_name)
    if failed.n_runs:
        lost = f" ({failed.n_lost} lost with processes or host)" if failed.n_lost else ""
        click.echo(
            f"{words.counted(failed.n_runs, 'run')} of it FAILED before{lost}: `motoko info`"
            " says why, --retry-failed tries them again"
        )
