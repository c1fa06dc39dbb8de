"""Which phases of a pipeline begin, compared with a model that tries all of them each time."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow.pipelines.progress import Hold, Phase, PhaseState, Progress
from tests.support.effort import examples


@st.composite
def pipelines(draw: Any) -> Pipeline:
    """Up to five steps, each of which requires some of those before it."""
    steps: list[Step] = []
    for i in range(draw(st.integers(1, 5))):
        names = [step.name for step in steps]
        requires = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
        steps.append(Step(f"s{i}", requires, barrier=draw(st.booleans())))
    return Pipeline(steps)


def can_begin(
    pipeline: Pipeline,
    n_systems: int,
    done: set[Any],
    begun: set[Any],
    gone: set[int],
    flying: list[Phase],
) -> set[Any]:
    """What the model says: all phases that nothing keeps from beginning. A barrier waits for
    what systems that are left out have under way."""
    under_way = {(phase.step.name, phase.row) for phase in flying}
    alive = [row for row in range(n_systems) if row not in gone]
    return {
        (step.name, row)
        for step in pipeline
        for row in alive
        if (step.name, row) not in begun
        and all((name, row) in done for name in step.requires)
        and not (
            step.barrier
            and any(
                (name, other) in under_way or (other in alive and (name, other) not in done)
                for name in step.requires
                for other in range(n_systems)
            )
        )
    }


def taken_over(
    pipeline: Pipeline, systems: list[SimSystem], known: list[Phase], behind: Any, data: Any
) -> None:
    """Another process finds out in any order what became of phases: none of them is done behind
    something else, and nothing else begins."""
    progress = Progress(pipeline, systems)
    found = {phase.name: phase for phase in known}
    holds: dict[int, Hold] = {}
    for phase in progress:  # in the order in which they are looked for
        was = found.get(phase.name)
        if was is not None and was.state is PhaseState.FAILED and phase.row not in holds:
            begun = {one.step.name for one in known if one.row == phase.row}
            holds[phase.row] = Hold(phase.step.name, begun)
    progress.hold(holds)
    while not progress.is_at_rest:
        ready = [phase for step in pipeline for phase in progress.ready(step.name)]
        phase = data.draw(st.sampled_from(ready))
        was = found.pop(phase.name)
        assert {one.name for one in progress.behind(phase)} == behind[phase.name]
        phase.begin()
        progress.note([phase])
        phase.conclude(was.error)
        progress.note([phase])
        if was.error is not None:
            progress.prune(phase)
    assert found == {}


@settings(max_examples=examples(60))
@given(pipelines(), st.integers(1, 4), st.data())
def test_what_can_begin_is_what_the_model_says_until_nothing_is_left(
    pipeline: Pipeline, n_systems: int, data: st.DataObject
) -> None:
    systems = [SimSystem(f"x{row}", f"x{row}") for row in range(n_systems)]
    progress = Progress(pipeline, systems)
    done: set[Any] = set()
    begun: set[Any] = set()
    gone: set[int] = set()
    flying: list[Phase] = []
    known: list[Phase] = []
    behind: dict[str, set[str]] = {}
    while True:
        ready = {(p.step.name, p.row): p for s in pipeline for p in progress.ready(s.name)}
        assert set(ready) == can_begin(pipeline, n_systems, done, begun, gone, flying)
        assert progress.is_at_rest == (not ready and not flying)
        choices = [*ready, *(phase.name for phase in flying)]
        if not choices:
            break
        chosen = data.draw(st.sampled_from(choices))
        if chosen in ready:
            phase = ready[chosen]
            behind[phase.name] = {one.name for one in progress.behind(phase)}
            known.append(phase)
            phase.begin()
            begun.add(chosen)
            flying.append(phase)
            progress.note([phase])
            continue
        [phase] = [phase for phase in flying if phase.name == chosen]
        flying.remove(phase)
        is_bad = data.draw(st.booleans())
        phase.conclude(ValueError() if is_bad else None)
        progress.note([phase])
        if is_bad:
            gone.add(phase.row)
            progress.prune(phase)
        else:
            done.add((phase.step.name, phase.row))

    complete = {
        system.name
        for row, system in enumerate(systems)
        if row not in gone and all((step.name, row) in done for step in pipeline)
    }
    assert {s.name for s in progress.survivors if s is not None} == complete
    taken_over(pipeline, systems, known, behind, data)


@settings(max_examples=examples(60))
@given(pipelines(), st.integers(1, 3), st.data())
def test_what_requires_a_phase_that_is_put_back_waits_for_it_again(
    pipeline: Pipeline, n_systems: int, data: st.DataObject
) -> None:
    progress = Progress(pipeline, [SimSystem(f"x{row}", f"x{row}") for row in range(n_systems)])
    phases = {(phase.step.name, phase.row): phase for phase in progress}
    done: set[Any] = set()
    begun: set[Any] = set()
    outdated: set[Any] = set()

    def hold_dependents(name: str, row: int) -> None:
        for dependent in pipeline.adjacency()[name]:
            for other in range(n_systems) if pipeline[dependent].barrier else [row]:
                key = (dependent, other)
                if key in done:
                    done.remove(key)
                    begun.remove(key)
                    hold_dependents(*key)
                elif key in begun:
                    outdated.add(key)

    n_put_back = 0
    while True:
        ready = {(p.step.name, p.row) for s in pipeline for p in progress.ready(s.name)}
        flying = begun - done
        at_work = [phases[key] for key in flying]
        assert ready == can_begin(pipeline, n_systems, done, begun, set(), at_work)
        assert progress.is_at_rest == (not ready and not flying)
        choices = [*sorted(ready), *sorted(flying), *(sorted(done) if n_put_back < 5 else ())]
        if not choices or (not ready and not flying and data.draw(st.booleans())):
            break
        key = data.draw(st.sampled_from(choices))
        phase = phases[key]
        if key in ready:
            phase.begin()
            begun.add(key)
        elif key in done:
            n_put_back += 1
            phase.wait()
            done.remove(key)
            begun.remove(key)
            hold_dependents(*key)
        else:
            phase.conclude()
            if key in outdated:
                outdated.remove(key)
                begun.remove(key)
            else:
                done.add(key)
        progress.note([phase])

    assert len(progress.survivors) == n_systems
    assert done == set(phases)


def test_how_far_a_step_is_is_said_in_words() -> None:
    order = Pipeline([Step("a"), Step("b", ["a"])])
    progress = Progress(order, [SimSystem(name, name) for name in "xyz"])
    first, second, third = progress.ready("a")
    for phase in (first, second):
        phase.begin()
    progress.note([first, second])
    second.conclude()
    progress.note([second])

    assert third.state is PhaseState.WAITING
    assert progress.in_words("a") == "1 waiting, 1 begun, 1 done"
    assert progress.in_words("b") == "3 waiting (missing: a of 2)"
