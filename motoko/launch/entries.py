"""Entries that a script has set on its run, as the database has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from motoko.columns import FIXED_FOR_SCRIPTS, is_motokos
from motoko.errors import SchemaError
from motoko.job.verdict import NOT_ITS_OWN, WHO_PUTS_BACK
from motoko.launch.reading import Entry
from motoko.model.schema import Schema
from motoko.store.codec import encode


def converted(
    news: Iterable[Entry], schema: Schema, title: str, warn: Callable[[str], object]
) -> dict[str, Any]:
    """The values of entries other than the state; a warning for each that cannot be set."""
    found: dict[str, Any] = {}
    for entry in news:
        name = str(entry.get("name")).lower()
        if entry["op"] != "set":
            continue
        if name == "state":
            if str(entry.get("value")) in NOT_ITS_OWN:
                warn(f"it set state = {entry['value']}, which does nothing: {WHO_PUTS_BACK}")
            continue
        try:
            if name in FIXED_FOR_SCRIPTS or is_motokos(name, entry.get("value")):
                raise SchemaError(title, name, "is Motoko's own", "it was not set")
            values = schema.convert_run({name: entry.get("value")})
            encode(values)
        except SchemaError as error:
            warn(str(error))
        except RecursionError:
            warn(f"{name!r} is nested too deep to be stored: it was not set")
        else:
            found.update(values)
    return found
