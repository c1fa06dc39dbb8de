"""Quantities that are pushed to runs that were selected, from outside of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.compat.selectors import RunSelector
from motoko.errors import SchemaError
from motoko.store.session import unit_of_work
from motoko.study import archive
from motoko.study.origin import IMPORTED
from motoko.study.study import Study
from tests.support.launch_session import create, launching, new_study, wait_for_state

SCRIPT = "true\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Three runs: the first two have finished, the third has not been launched."""
    with new_study(tmp_path_factory.mktemp("pushed") / "s", SCRIPT) as study:
        create(study, 2)
        with launching(study):
            wait_for_state(study, "FINISHED", 1, 2)
        create(study, 3)
        yield study


def test_selected_runs_take_quantities_as_they_do_in_their_scripts(study: Study) -> None:
    for run, job in RunSelector(study).selectRuns("id = 1"):
        run.pushQuantity([job.x + 1, 2.5], 3, "pair", "two of them")
        run.pushScalarQuantity(7, 4, "one")
        run.pushScalarQuantities([8, 9], [5, 6], "one")
        run.pushVectorQuantity([1, 2, 3], 7, "three")

    run = study.run(1)
    pair = run.getQuantity("pair")
    assert list(pair) == ["step[int]", "pair-0[float]", "pair-1[float]"]
    assert pair.values.tolist() == [[3, 1.0, 2.5]]
    assert run.getScalarQuantity("one").values.tolist() == [[4, 7], [5, 8], [6, 9]]
    assert run.last_quantities() == {
        "pair": (3, [1.0, 2.5]),
        "one": (6, 9),
        "three": (7, [1, 2, 3]),
    }
    assert run.getLastStep()[0] == 7
    assert run.listQuantities() == ["one", "pair", "three"]


def test_what_is_no_quantity_is_refused(study: Study) -> None:
    run = study.run(2)
    run.pushQuantity([1.0, 2.0], 1, "two")

    for name, value in (("two", 1.0), ("../up", 1.0), ("word", "text")):
        with pytest.raises(SchemaError):
            run.pushQuantity(value, 2, name)

    assert run.listQuantities() == ["two"]
    assert len(run.getQuantity("two")) == 1


def test_run_that_was_brought_here_with_its_directory_takes_quantities(study: Study) -> None:
    place = study.run_dir(3)
    place.mkdir(parents=True)
    try:
        study.run(3).pushQuantity(1.5, 2, "late")

        assert (place / "late.csv").read_text() == "step[int],late[float]\n2,1.5\n"
        assert study.run(3).last_quantities() == {"late": (2, 1.5)}
    finally:
        (place / "late.csv").unlink()
        place.rmdir()


def test_nothing_is_written_where_no_run_of_this_study_is(study: Study, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="run 3 has no directory"):
        study.run(3).pushQuantity(1.0, 1, "q")

    fact = {"path": str(tmp_path), "entry": "imported_from"}
    study.database.write(lambda tables: tables.set_fact(IMPORTED, fact))
    place = {"imported_from": str(tmp_path)}
    study.database.write(lambda tables: tables.update_run(3, place))
    with pytest.raises(SchemaError, match=r"where it was imported from.*--copy-runs"):
        study.run(3).pushQuantity(1.0, 1, "q")

    archive.pack(study, [2], is_busy=lambda _: False)
    with pytest.raises(SchemaError, match=r"packed in archive-1\.zip.*--unpack"):
        study.run(2).pushQuantity(1.0, 1, "q")

    assert list(tmp_path.iterdir()) == []
    assert "q" not in study.run(2).listQuantities()


def test_nothing_is_pushed_in_a_session_that_may_be_done_again(study: Study) -> None:
    with pytest.raises(SchemaError, match="without a session"), unit_of_work():
        study.run(1).pushQuantity(1.0, 1, "q")

    assert "q" not in study.run(1).listQuantities()
