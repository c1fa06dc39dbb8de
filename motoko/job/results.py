"""The quantities of a run, as its script pushes and reads them."""

from __future__ import annotations

import os

from motoko.crashpoints import reached
from motoko.job import quantities
from motoko.job.entries import Entries
from motoko.job.facts import force
from motoko.job.layout import quantity_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple


class Results(Entries):
    """What `Run` does with quantities; older scripts use the spellings in camel case."""

    _directory: str
    _pushed_by: int
    _widths: Dict[str, int]
    _now: Callable[[], float]

    def _record(
        self, op: str, durable: bool = False, at_once: bool = True, **facts: Any
    ) -> None:
        raise NotImplementedError

    def _knock(self, at_once: bool) -> None:
        raise NotImplementedError

    def push_quantity(
        self, values: Any, step: Any, name: str, description: Optional[str] = None
    ) -> None:
        """Append values of a quantity to its file, at full precision.

        A single step takes one row, its components flattened; a list of steps takes one row
        each. `SchemaError` for names that no file can have, and for values that are no numbers
        or do not fit the steps or the rows before.
        """
        table = quantities.checked_rows(values, step, name, self._study)
        if not table:
            return
        path = quantity_file(self._directory, name)
        # A fork declares for itself what it pushes, in its own journal.
        if self._pushed_by != os.getpid():
            self._pushed_by, self._widths = os.getpid(), {}
        header: List[str] = []
        width = len(table[0][1])
        if name not in self._widths:
            header = quantities.opened_file(path, table, name, self._study)
            self._widths[name] = width
        quantities.check_width(width, self._widths[name], path, name, self._study)
        try:
            quantities.append(path, table)
            reached("quantity.appended")
        except OSError:
            del self._widths[name]
            raise
        self._entries["last_step"] = table[-1][0]
        self._entries["last_step_time"] = self._now()
        if header:
            self._record("quantity", name=name, columns=header, description=description)
        else:
            self._knock(at_once=False)

    def _force_pushed(self) -> None:
        """Have on disk what this process has pushed."""
        if self._pushed_by != os.getpid():
            return
        for name in self._widths:
            try:
                force(quantity_file(self._directory, name))
            except FileNotFoundError:
                pass  # the script has moved it away
        force(self._directory)

    def get_quantity(self, name: str, step: Optional[int] = None) -> Any:
        """A pandas DataFrame of the quantity: ``step[int]``, then a column a component.

        With a step, the rows of that step. `EntryNotFound` when the run has none of that name.
        """
        frame = quantities.read_frame(self._directory, name, self._title)
        return frame if step is None else frame[frame[quantities.STEP] == step]

    def get_quantities(self, names: Iterable[str], step: Optional[int] = None) -> Any:
        """Several quantities side by side in a DataFrame; NaN for steps that one lacks."""
        return quantities.side_by_side([self.get_quantity(name, step) for name in names])

    def list_quantities(self) -> List[str]:
        """Names of the quantities that the run has values of, sorted."""
        return quantities.list_quantities(self._directory)

    def get_last_step(self) -> Tuple[Optional[int], Optional[float]]:
        """The step pushed last, and when (seconds since the epoch); None twice before any."""
        entries = self._entries
        return entries.get("last_step"), entries.get("last_step_time")

    def pushQuantity(
        self, values: Any, step: Any, name: str, description: Optional[str] = None
    ) -> None:
        """Append values of a quantity: `push_quantity`."""
        self.push_quantity(values, step, name, description)

    def pushScalarQuantity(
        self, value: Any, step: Any, name: str, description: Optional[str] = None
    ) -> None:
        """Append one value: `push_quantity`."""
        self.push_quantity(value, step, name, description)

    def pushVectorQuantity(
        self, values: Any, step: Any, name: str, description: Optional[str] = None
    ) -> None:
        """Append one row of values: `push_quantity`."""
        self.push_quantity(values, step, name, description)

    def pushScalarQuantities(
        self, values: Any, steps: Any, name: str, description: Optional[str] = None
    ) -> None:
        """Append a value for each step: `push_quantity`."""
        self.push_quantity(values, steps, name, description)

    def getQuantity(self, name: str, step: Optional[int] = None) -> Any:
        """A DataFrame of the quantity: `get_quantity`."""
        return self.get_quantity(name, step)

    def getScalarQuantity(self, name: str, step: Optional[int] = None) -> Any:
        """A DataFrame of the quantity: `get_quantity`."""
        return self.get_quantity(name, step)

    def getVectorQuantity(self, name: str, step: Optional[int] = None) -> Any:
        """A DataFrame of the quantity: `get_quantity`."""
        return self.get_quantity(name, step)

    def getQuantities(self, names: Iterable[str], step: Optional[int] = None) -> Any:
        """Several quantities side by side: `get_quantities`."""
        return self.get_quantities(names, step)

    def listQuantities(self) -> List[str]:
        """Names of the quantities: `list_quantities`."""
        return self.list_quantities()

    def getLastStep(self) -> Tuple[Optional[int], Optional[float]]:
        """Last step and its time: `get_last_step`."""
        return self.get_last_step()
