"""Entries that scripts have set, as the database has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.config import read_study
from motoko.launch.entries import converted
from motoko.model.schema import Schema
from tests.support.studies import write_study


@pytest.mark.parametrize("state", ["CREATED", "SUBMITTED"])
def test_state_that_is_not_for_a_script_to_set_is_a_warning(tmp_path: Path, state: str) -> None:
    schema = Schema.from_config(read_study(write_study(tmp_path / "mult")))
    warnings: list[str] = []
    entry = {"op": "set", "name": "State", "value": state, "t": 1.0}

    found = converted([entry], schema, "mult.1", warnings.append)

    assert found == {}
    assert [state in one and "an action does" in one for one in warnings] == [True]
