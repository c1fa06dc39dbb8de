"""What is drawn over what."""

from __future__ import annotations

import click
import numpy as np
import pytest

from motoko.cli.bd.using import Using

COLUMNS = [
    (np.array([1.0, 2.0]), np.array([3.0, 4.0])),
    (np.array([1.0, 2.0]), np.array([5.0, 6])),
]


@pytest.mark.parametrize(
    ("text", "x", "y"),
    [
        ("%0.x:%1.y", [1, 2], [5, 6]),
        ("%0.x:%1.y/2", [1, 2], [2.5, 3]),
        ("%0.y:%1.y", [3, 4], [5, 6]),
        ("%0.x * 2 : (%1.y - %0.y) / 2", [2, 4], [1, 1]),
        ("-%1.x:%0.y**2+1e1", [-1, -2], [19, 26]),
        ("%0.x:np.sqrt(%1.y+(%0.x*2+2))", [1, 2], [3, 12**0.5]),
        ("numpy.cumsum(%0.x) : abs(-%0.y)*np.log(np.e)", [1, 3], [3, 4]),
        ("%0.x:%0.y/max(%0.y)", [1, 2], [0.75, 1]),
    ],
)
def test_columns_are_combined(text: str, x: list[float], y: list[float]) -> None:
    found = Using(text, 2)(COLUMNS)

    assert [list(values) for values in found] == [x, y]


WRONG = """%0.x  %0.x:%2.y  %0.x:print(1)  %0.x:x  %0.x:%0.y.__class__  %0.x:  %0.x:[1]
%0.x:'a' %0.x:True  %0.x:_0_z  %0.x:np.load(%0.x)  %0.x:os.sqrt(%0.x)  %0.x:np.sqrt
%0.x:np.sqrt(%0.x,out=%0.y)  %0.x:np.sqrt(%0.x,%0.y)  %0.x:np.sqrt(*%0.x)  %0.x:np.lib
%0.x:sqrt.pi"""


@pytest.mark.parametrize("text", [*WRONG.split(), "%0.x:" + "(" * 500])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--using"):
        Using(text, 2)
