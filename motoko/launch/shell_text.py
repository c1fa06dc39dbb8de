"""Where a place in a bash script stands (in quotes, a comment, ...), and quoting for it.

The reader follows quotes, comments, here-documents and command substitutions, which is what
decides how a text must be written to be nothing but text. It is not a parser of bash.
"""

from __future__ import annotations

import re
from typing import Final

PLAIN: Final = "plain"
#: A word of its own in plain text; several words may stand there.
WORDS: Final = "words"
SINGLE: Final = "single quotes"
DOUBLE: Final = "double quotes"
ANSI: Final = "dollar and single quotes"
COMMENT: Final = "comment"
DOCUMENT: Final = "here-document"
RAW_DOCUMENT: Final = "quoted here-document"

_HARMLESS = re.compile(rb"[A-Za-z0-9_@%+=:,./-]*")
_HARMLESS_WORDS = re.compile(rb"[A-Za-z0-9_@%+=:,./ -]*")
_HERE = re.compile(rb"<<(-?)[ \t]*(?:(['\"])(.+?)\2|(\\?)([A-Za-z_][A-Za-z0-9_.-]*))")
_LINE_ENDS = re.compile(rb"[\r\n]+")


def quoted(text: bytes, place: str) -> bytes:
    """The text, written so that at such a place it stands for itself."""
    text = text.replace(b"\0", b"")
    if place == WORDS and _HARMLESS_WORDS.fullmatch(text):
        return text
    if place in (PLAIN, WORDS):
        if _HARMLESS.fullmatch(text):
            return text
        return b"'" + text.replace(b"'", b"'\\''") + b"'"
    if place == SINGLE:
        return text.replace(b"'", b"'\\''")
    if place == ANSI:
        return re.sub(rb"([\\'])", rb"\\\1", text)
    if place == DOUBLE:
        return re.sub(rb'([\\"$`])', rb"\\\1", text)
    text = _LINE_ENDS.sub(b" ", text)
    return re.sub(rb"([\\$`])", rb"\\\1", text) if place == DOCUMENT else text


class Reader:
    """Follows a script piece by piece and says where its end stands."""

    def __init__(self) -> None:
        # Each element is what an unfinished construct began with; () is a substitution.
        self._open: list[bytes] = []
        self._is_comment = False
        self._documents: list[tuple[bytes, bool, bool]] = []  # delimiter, tabs, raw
        self._in_document = False
        self._line = b""
        self._last = b"\n"

    def place(self, following: bytes) -> str:
        """Where a text between what was read and what follows would stand."""
        if self._in_document:
            return RAW_DOCUMENT if self._documents[0][2] else DOCUMENT
        if self._is_comment:
            return COMMENT
        kind = self._open[-1] if self._open else b""
        if kind in (b"'", b'"', b"$'"):
            return {b"'": SINGLE, b'"': DOUBLE, b"$'": ANSI}[kind]
        is_own_word = self._last in (b" ", b"\t") and following[:1] in b" \t\r\n;&|)"
        return WORDS if is_own_word and self._line.strip() else PLAIN

    def read(self, piece: bytes) -> None:
        """Go on to the end of a piece."""
        i = 0
        while i < len(piece):
            i += self._step(piece, i)

    def pass_over(self) -> None:
        """Go on behind a text that was put there."""
        self._line += b"x"
        self._last = b"x"

    def _step(self, piece: bytes, i: int) -> int:
        char = piece[i : i + 1]
        if char == b"\n":
            self._end_line()
            return 1
        before, self._last = self._last, char
        self._line += char
        if self._in_document or self._is_comment:
            return 1
        kind = self._open[-1] if self._open else b""
        if kind == b"'":
            if char == b"'":
                self._open.pop()
            return 1
        if char == b"\\":
            if piece[i + 1 : i + 2] == b"\n":
                return 1
            self._line += piece[i + 1 : i + 2]
            return 2
        if kind == b"$'":
            if char == b"'":
                self._open.pop()
            return 1
        if kind == b'"':
            return self._step_in_double(piece, i, char)
        return self._step_in_plain(piece, i, char, before)

    def _step_in_double(self, piece: bytes, i: int, char: bytes) -> int:
        if char == b'"':
            self._open.pop()
        elif piece.startswith(b"$(", i):
            self._open.append(b"(")
            return 2
        elif char == b"`":
            self._open.append(b"`")
        return 1

    def _step_in_plain(self, piece: bytes, i: int, char: bytes, before: bytes) -> int:
        kind = self._open[-1] if self._open else b""
        if char == b"#" and before in b" \t\n;&|(":
            self._is_comment = True
        elif piece.startswith(b"$'", i):
            self._open.append(b"$'")
            return 2
        elif char in (b"'", b'"'):
            self._open.append(char)
        elif char == b"`":
            if kind == b"`":
                self._open.pop()
            else:
                self._open.append(b"`")
        elif char == b"(" and (kind == b"(" or before == b"$"):
            self._open.append(b"(")
        elif char == b")" and kind == b"(":
            self._open.pop()
        elif piece.startswith(b"<<<", i):
            return 3
        elif char == b"<" and (here := _HERE.match(piece, i)):
            name = here[3] or here[5]
            self._documents.append((name, bool(here[1]), bool(here[2] or here[4])))
            return len(here[0])
        return 1

    def _end_line(self) -> None:
        if self._in_document:
            name, has_tabs, _ = self._documents[0]
            line = self._line.lstrip(b"\t") if has_tabs else self._line
            if line == name:
                del self._documents[0]
        is_quoted = bool(self._open) and self._open[-1] in (b"'", b'"', b"$'")
        self._in_document = bool(self._documents) and not is_quoted
        self._is_comment = False
        self._line, self._last = b"", b"\n"
