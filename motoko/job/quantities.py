"""Quantities: what a run computes step by step, one CSV file each in the run directory.

The header is ``step[int]`` and a column a component: ``name[type]``, or ``name-i[type]`` when
there are several; the type is that of the first row's value. Rows are appended with one write
a push, by any number of processes. A row that a killed writer left unfinished is made longer
than the header by whoever appends next, which is how readers know it.
"""

from __future__ import annotations

import os
import stat
from collections import namedtuple

from motoko.crashpoints import reached
from motoko.errors import EntryNotFound, JobSideError, SchemaError
from motoko.job.facts import write_all
from motoko.job.layout import PREFIX, QUANTITY_SUFFIX, quantity_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple, Union

    from motoko.job.layout import StrPath

    Value = Union[int, float, bool, str]

STEP = "step[int]"
BLOCK = 1 << 16
_FORBIDDEN = frozenset('/\\,"[]\0')


class Leaf(namedtuple("Leaf", ["text", "kind"])):
    """One number as it stands in the file, and the name of its type."""

    __slots__ = ()
    text: str
    kind: str


def check_name(name: str, study: str) -> None:
    """Refuse a name that would not do for a file and a column: `SchemaError`."""
    is_good = (
        isinstance(name, str)
        and name.isprintable()
        and name == name.strip()
        and not _FORBIDDEN.intersection(name)
        and name[:1] not in ("", ".", "-")
        and len(name.encode("utf-8", "replace")) <= 200
    )
    if not is_good:
        allowed = (
            "the name of a quantity names its file: printable, not too long, without"
            " / \\ , \" [ ], not beginning with '.' or '-'"
        )
        raise SchemaError(study, str(name), f"found the name {name!r}", allowed)


def checked_rows(
    values: Any, steps: Any, name: str, study: str
) -> List[Tuple[int, List[Leaf]]]:
    """Values of a quantity as `rows`; `SchemaError` for what it cannot have or be called."""
    check_name(name, study)
    try:
        return rows(values, steps)
    except ValueError as error:
        allowed = "a quantity takes numbers: one row for a step, or as many as steps"
        raise SchemaError(study, name, str(error), allowed) from None


def rows(values: Any, steps: Any) -> List[Tuple[int, List[Leaf]]]:
    """Values as rows: one with all components for a single step, else one for each step.

    `ValueError` when the numbers of values and steps, or the lengths of rows, do not fit.
    """
    steps = steps.tolist() if hasattr(steps, "tolist") else steps
    if not isinstance(steps, (list, tuple, range)):
        return [(_step(steps), _leaves(values))]
    if len(steps) == 1:
        return [(_step(steps[0]), _leaves(values))]
    values = _items(values)
    if values is None or len(values) != len(steps):
        found = "one value" if values is None else f"{len(values)} values"
        raise ValueError(f"found {found} for {len(steps)} steps")
    table = [(_step(step), _leaves(value)) for step, value in zip(steps, values)]
    widths = {len(leaves) for _, leaves in table}
    if len(widths) > 1:
        raise ValueError(f"found rows of {min(widths)} and of {max(widths)} components")
    return table


def _step(step: Any) -> int:
    if isinstance(step, bool) or not hasattr(step, "__int__") or int(step) != step:
        raise ValueError(f"found the step {step!r}, which is no whole number")
    return int(step)


def _items(value: Any) -> Optional[Sequence[Any]]:
    if hasattr(value, "tolist") and getattr(value, "shape", None) != ():
        value = value.tolist()
    return value if isinstance(value, (list, tuple, range)) else None


def _leaves(value: Any) -> List[Leaf]:
    items = _items(value)
    leaves = [_leaf(value)] if items is None else [x for item in items for x in _leaves(item)]
    if not leaves:
        raise ValueError("found no value")
    return leaves


def _leaf(value: Any) -> Leaf:
    number = value.tolist() if hasattr(value, "tolist") else value
    kind = type(number).__name__
    if type(value).__module__ == "numpy" and kind in ("float", "int", "bool"):
        kind = type(value).__name__ if type(value).__name__ != "ndarray" else kind
    if isinstance(number, bool):
        return Leaf(repr(number), kind)
    if isinstance(number, int):
        return Leaf(int.__repr__(number), kind)
    if isinstance(number, float):
        return Leaf(float.__repr__(number), kind)
    if isinstance(number, str):
        raise ValueError(f"found text {number!r}: text goes into an entry of the run")
    if hasattr(number, "__float__"):
        return Leaf(repr(float(number)), "float")
    raise ValueError(f"found {value!r}, which is no number")


def columns(name: str, leaves: Sequence[Leaf]) -> List[str]:
    """The columns beside the step, for a quantity of these components."""
    if len(leaves) == 1:
        return [f"{name}[{leaves[0].kind}]"]
    return [f"{name}-{i}[{leaf.kind}]" for i, leaf in enumerate(leaves)]


def open_file(path: StrPath, wanted: List[str]) -> List[str]:
    """Make the file with its header, or find it; its columns as they are, step first.

    The header is there before the file has its name, so no other writer can come before it.
    A last row without its end is closed. `JobSideError` for a file that holds no quantity.
    """
    header = read_header(path)
    if header is None:
        directory, name = os.path.split(os.path.abspath(path))
        aside = os.path.join(directory, f"{PREFIX}{os.urandom(4).hex()}-{name[:100]}")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_all(fd, (",".join([STEP, *wanted]) + "\n").encode())
            reached("quantity.aside")
            os.link(aside, path)
            reached("quantity.named")
        except FileExistsError:
            pass
        finally:
            os.close(fd)
            os.unlink(aside)
        header = read_header(path)
    if not header:
        raise JobSideError(f"{path} is in the way: it holds no quantity (no column {STEP})")
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            _append(path, "," * len(header) + "\n")
    return header


def opened_file(
    path: StrPath, table: Sequence[Tuple[int, List[Leaf]]], name: str, study: str
) -> List[str]:
    """Make or find the file as `open_file` does, for these rows; `SchemaError` if it has rows
    of another width."""
    wanted = columns(name, table[0][1])
    header = open_file(path, wanted)
    check_width(len(wanted), len(header) - 1, path, name, study)
    return header


def check_width(n_given: int, n_there: int, path: StrPath, name: str, study: str) -> None:
    """`SchemaError` unless rows have as many components as those that are there."""
    if n_given != n_there:
        found = f"found {n_given} components"
        raise SchemaError(study, name, found, f"{os.fspath(path)} has {n_there}")


def append(path: StrPath, table: Sequence[Tuple[int, List[Leaf]]]) -> None:
    """Add rows in one write; ``OSError`` when not all of it went in."""
    lines = [",".join([str(step), *(leaf.text for leaf in leaves)]) for step, leaves in table]
    _append(path, "\n".join(lines) + "\n")


def _append(path: StrPath, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        write_all(fd, text.encode())
    finally:
        os.close(fd)


def read_header(path: StrPath) -> Optional[List[str]]:
    """The columns of a quantity's file, step first; [] for another file, None without one.

    A directory is another one, and so is a pipe, which nobody may ever write to.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return []
        with open(path, "rb") as file:
            line = file.readline(1 << 20)
    except FileNotFoundError:
        return None
    names = line[:-1].decode("utf-8", "replace").split(",")
    return names if line.endswith(b"\n") and names[0] == STEP and len(names) > 1 else []


def list_quantities(run_dir: StrPath) -> List[str]:
    """Names of the quantities that have a file in the directory, sorted."""
    try:
        files = os.listdir(run_dir)
    except FileNotFoundError:
        return []
    ends = len(QUANTITY_SUFFIX)
    return sorted(
        file[:-ends]
        for file in files
        if file.endswith(QUANTITY_SUFFIX)
        and not file.startswith(".")
        and read_header(os.path.join(run_dir, file))
    )


def last_row(path: StrPath) -> Optional[Tuple[int, Union[Value, List[Value]]]]:
    """Step and value of the last complete row, a list when there are several components.

    Reads from the end, however long the file is. None without a file or a row.
    """
    header = read_header(path)
    if not header:
        return None
    with open(path, "rb") as file:
        position = os.fstat(file.fileno()).st_size
        tail = b""
        while position > 0:
            size = min(BLOCK, position)
            position -= size
            file.seek(position)
            tail = file.read(size) + tail
            # The first line is the header, or lacks its beginning; the last one lacks its end.
            for line in reversed(tail.split(b"\n")[1:-1]):
                row = _read_row(line, header)
                if row:
                    return row
    return None


def _read_row(
    line: bytes, header: List[str]
) -> Optional[Tuple[int, Union[Value, List[Value]]]]:
    texts = line.decode("utf-8", "replace").split(",")
    if len(texts) != len(header):
        return None
    try:
        step = int(texts[0])
    except ValueError:
        return None
    values = [_read_value(text, name) for text, name in zip(texts[1:], header[1:])]
    return step, values[0] if len(values) == 1 else values


def _read_value(text: str, column: str) -> Value:
    if column.endswith("[str]"):
        return text
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def read_frame(run_dir: StrPath, name: str, title: str = "this run") -> Any:
    """The quantity as a pandas DataFrame, its columns as in the file, unfinished rows left out.

    `EntryNotFound` for an unknown name, `JobSideError` without pandas.
    """
    path = quantity_file(run_dir, name)
    header = read_header(path)
    if not header:
        raise EntryNotFound(
            f"the list of quantities of {title}", name, list_quantities(run_dir)
        )
    with open(path, "rb") as file:
        content = file.read()
    lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    whole = [line for line in lines if line.count(b",") == len(header) - 1]

    import io

    pandas = load_pandas()
    words = {column: str for column in header if column.endswith("[str]")}
    options = {
        "dtype": words,
        "keep_default_na": False,
        "na_values": {column: ["nan", ""] for column in header if column not in words},
    }
    # From 3.1 on the default converter is exact, and asking for that is deprecated.
    if tuple(map(int, pandas.__version__.split(".")[:2])) < (3, 1):
        options["float_precision"] = "round_trip"
    return pandas.read_csv(io.BytesIO(b"".join(whole)), **options)


def load_pandas() -> Any:
    """The pandas of the script's own Python; `JobSideError` when it has none."""
    from importlib import import_module

    try:
        return import_module("pandas")
    except ImportError as error:
        import sys

        raise JobSideError(
            f"reading quantities gives pandas DataFrames, and {sys.executable} has no pandas"
            f" ({error}); install it there, or read the .csv file in the run directory"
        ) from None


def side_by_side(frames: List[Any]) -> Any:
    """Tables of quantities as one, a row for each step; NaN for steps that one lacks."""
    if not frames:
        return load_pandas().DataFrame(columns=[STEP])
    merged = frames[0]
    for frame in frames[1:]:
        merged = merged.merge(frame, on=STEP, how="outer", sort=True)
    return merged
