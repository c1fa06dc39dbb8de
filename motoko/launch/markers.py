"""Markers in text files: ``__BLACKDYNAMITE__name__`` stands for an entry of the job or run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from motoko.columns import HIDDEN
from motoko.errors import MarkerUnsafe, MarkerUnset
from motoko.launch import shell_text
from motoko.study.files import MARKER


class _Piece(NamedTuple):
    """Text, the marker behind it, and where in the file that stands."""

    before: bytes
    name: str
    line: int
    place: shell_text.Place | None


class Template:
    """A file with markers, read once for all runs that get it.

    In a bash script a value is quoted for the place where its marker stands, so that it can
    only ever be text; where that is not certain, only a plain word is put in. Elsewhere it is
    put in as it is.
    """

    def __init__(self, content: bytes, file: str, *, is_script: bool) -> None:
        self._file = file
        self._pieces: list[_Piece] = []
        reader = shell_text.Reader() if is_script else None
        position, line = 0, 1
        for found in MARKER.finditer(content):
            before = content[position : found.start()]
            line += before.count(b"\n")
            position = found.end()
            place = None
            if reader is not None:
                reader.read(before)
                following = content[position:].partition(b"\n")[0]
                place = reader.place(following, is_last=MARKER.search(following) is None)
                reader.pass_over()
            self._pieces.append(_Piece(before, found.group(1).decode(), line, place))
        self._rest = content[position:]

    def fill(self, values: Mapping[str, Any]) -> bytes:
        """The content for one run.

        Raises MarkerUnset for the first marker without a value, and MarkerUnsafe for the first
        one whose value could be more than text where it stands.
        """
        parts = []
        for piece in self._pieces:
            value = values.get(piece.name)
            if value is None:
                known = sorted(name for name, given in values.items() if given is not None)
                raise MarkerUnset(self._file, piece.line, piece.name, known)
            text = str(value).encode("utf-8", "surrogateescape")
            parts.append(piece.before)
            if piece.place is not None:
                if why := piece.place.refusal(text):
                    raise MarkerUnsafe(self._file, piece.line, piece.name, str(value), why)
                text = shell_text.quoted(text, piece.place.kind)
            parts.append(text)
        parts.append(self._rest)
        return b"".join(parts)


def marker_values(
    job: Mapping[str, Any], run: Mapping[str, Any], places: Mapping[str, Any]
) -> dict[str, Any]:
    """What markers stand for. ``id`` is the job's, ``run_id`` the run's; a parameter of the
    job comes before an entry of the run of that name, and ``places`` before both. What users
    do not see is none of them."""
    shown = {name: value for name, value in run.items() if name not in HIDDEN}
    return {**shown, **job, **places, "id": run["job_id"], "run_id": run["id"]}
