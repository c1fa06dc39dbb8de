"""Where a place in a bash script stands (in quotes, a comment, ...), and quoting for it.

The reader follows quotes, comments, here-documents, substitutions and arithmetic, which is what
decides how a text must be written to be nothing but text. It is not a parser of bash: where it
cannot be sure it says so, and only a text that means the same everywhere may stand there.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

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
_HERE = re.compile(
    rb"<<(-?)[ \t]*(?:(['\"])([^'\"\n\\$`]+)\2|(\\?)([A-Za-z_][A-Za-z0-9_.-]*))"
    rb"(?=[ \t\n;&|)<>])"
)
_CASE = re.compile(rb"case\s")
#: An array's subscript is evaluated, also one that comes out of a value.
_SUBSCRIPT = re.compile(rb"[A-Za-z0-9_]\[[^\]]*$")
_EVALUATED = re.compile(rb"\[.*(?:`|\$[({\[])", re.DOTALL)
_LINE_ENDS = re.compile(rb"[\r\n]+")

# What is open: quotes, a substitution, and what has rules of its own.
_SUBSTITUTION = b"("
_BACKTICKS = b"`"
_BRACES = b"${"
_ARITHMETIC = b"(("
_IN_ARITHMETIC = b"(a"
_QUOTES = {b"'": SINGLE, b'"': DOUBLE, b"$'": ANSI}
_WHERE_DOUBTFUL = {
    _BACKTICKS: "in backticks",
    _BRACES: "in ${ }",
    _ARITHMETIC: "in arithmetic",
    _IN_ARITHMETIC: "in arithmetic",
}
#: What ends each of them; backticks are the same at both ends.
_ENDS = {
    b"'": b"'",
    b'"': b'"',
    b"$'": b"'",
    _SUBSTITUTION: b")",
    _BRACES: b"}",
    _ARITHMETIC: b")",
    _IN_ARITHMETIC: b")",
}
#: What opens in text of any kind, the longest first.
_OPENS = ((b"$((", _ARITHMETIC), (b"$(", _SUBSTITUTION), (b"${", _BRACES))


class Place(NamedTuple):
    """Where in a script a text is to stand."""

    kind: str
    #: Why it is not certain how to write a text there; empty when it is.
    doubt: str = ""
    #: What ends the here-document, what of the line stands before the text, and what behind it;
    #: None when other texts stand in that line.
    delimiter: bytes = b""
    line: tuple[bytes, bytes] | None = None

    def refusal(self, text: bytes) -> str:
        """Why the text cannot stand there as nothing but text; empty when it can."""
        if self.doubt and not _HARMLESS.fullmatch(text):
            return self.doubt
        if self.kind not in (COMMENT, RAW_DOCUMENT) and _EVALUATED.search(text):
            return "it could be a subscript, which bash evaluates"
        if not self.delimiter or not text:
            return ""
        text = _LINE_ENDS.sub(b" ", text)
        whole = text.join(self.line) if self.line else text
        ends = whole == self.delimiter if self.line else whole.strip(b"\t") in self.delimiter
        return "it would end the here-document" if ends else ""


def quoted(text: bytes, kind: str) -> bytes:
    """The text, written so that at a place of this kind it stands for itself."""
    text = text.replace(b"\0", b"")
    if kind == WORDS and _HARMLESS_WORDS.fullmatch(text):
        return text
    if kind in (PLAIN, WORDS):
        if _HARMLESS.fullmatch(text):
            return text
        return b"'" + text.replace(b"'", b"'\\''") + b"'"
    if kind == SINGLE:
        return text.replace(b"'", b"'\\''")
    if kind == ANSI:
        return re.sub(rb"([\\'])", rb"\\\1", text)
    if kind == DOUBLE:
        return re.sub(rb'([\\"$`])', rb"\\\1", text)
    text = _LINE_ENDS.sub(b" ", text)
    return re.sub(rb"([\\$`])", rb"\\\1", text) if kind == DOCUMENT else text


class _Document(NamedTuple):
    """A here-document: what ends it, and how many constructs were open where it was named."""

    delimiter: bytes
    has_tabs: bool
    is_raw: bool
    depth: int


class Reader:
    """Follows a script piece by piece and says where its end stands."""

    def __init__(self) -> None:
        self._open: list[bytes] = []
        self._is_comment = False
        self._documents: list[_Document] = []
        self._in_document = False
        self._line = b""
        self._has_text = False  # in this line, put there
        self._last = b"\n"
        self._is_escaped = False  # what follows the piece
        self._lost = ""

    def place(self, following: bytes, *, is_last: bool = True) -> Place:
        """Where a text would stand between what was read and what follows in its line, in which
        no other text is to stand if it `is_last`."""
        kind = self._kind(following)
        if kind in (COMMENT, SINGLE):
            return Place(kind, self._lost)
        doubt = self._lost or next(
            (_WHERE_DOUBTFUL[kind] for kind in reversed(self._open) if kind in _WHERE_DOUBTFUL),
            "",
        )
        if kind != RAW_DOCUMENT and not doubt:
            if self._is_escaped:
                doubt = "behind a backslash"
            elif self._last == b"$" and kind != ANSI:
                doubt = "behind a dollar sign"
            elif not self._in_document and _SUBSCRIPT.search(self._line):
                doubt = "in a subscript"
        if not self._in_document:
            return Place(kind, doubt)
        line = (self._line, following) if is_last and not self._has_text else None
        document = self._documents[0]
        if line and document.has_tabs:
            line = (line[0].lstrip(b"\t"), line[1])
        return Place(kind, doubt, document.delimiter, line)

    def read(self, piece: bytes) -> None:
        """Go on to the end of a piece."""
        i = 0
        while i < len(piece):
            i += self._step(piece, i)

    def pass_over(self) -> None:
        """Go on behind a text that was put there."""
        self._line += b"x"
        self._last = b"x"
        self._is_escaped = False
        self._has_text = True

    def _kind(self, following: bytes) -> str:
        if self._is_text_of_document():
            return RAW_DOCUMENT if self._documents[0].is_raw else DOCUMENT
        if self._is_comment:
            return COMMENT
        if self._open and self._open[-1] in _QUOTES:
            return _QUOTES[self._open[-1]]
        is_own_word = self._last in (b" ", b"\t") and following[:1] in b" \t\r\n;&|)"
        return WORDS if is_own_word and self._line.strip() else PLAIN

    def _is_text_of_document(self) -> bool:
        return self._in_document and len(self._open) == self._documents[0].depth

    def _lose(self, why: str) -> None:
        self._lost = self._lost or f"behind {why}"

    def _step(self, piece: bytes, i: int) -> int:
        char = piece[i : i + 1]
        if char == b"\n":
            self._end_line()
            return 1
        before, self._last = self._last, char
        self._line += char
        if self._is_comment:
            return 1
        in_text = self._is_text_of_document()
        kind = self._open[-1] if self._open and not in_text else b""
        is_end = char == _ENDS.get(kind)
        if (kind == b"'" and not is_end) or (in_text and self._documents[0].is_raw):
            return 1
        if char == b"\\":
            if piece[i + 1 : i + 2] == b"\n":
                self._last = before  # the line goes on
            self._line += piece[i + 1 : i + 2].strip(b"\n")
            self._is_escaped = i + 1 == len(piece)
            if _BACKTICKS in self._open and b'"' in self._open[: self._open.index(_BACKTICKS)]:
                self._lose("a backslash in backticks in quotes")
            return 2
        if is_end:
            return self._end(piece, i, kind)
        if kind == b"$'":
            return 1
        if opened := self._begin(piece, i, kind):
            return opened
        if in_text or kind == b'"':
            return 1
        if char in (b"'", b'"'):
            self._begin_quotes(char, kind, before)
            return 1
        if kind in (_ARITHMETIC, _IN_ARITHMETIC) and char == b"(":
            self._open.append(_IN_ARITHMETIC)
        if kind in (_BRACES, _ARITHMETIC, _IN_ARITHMETIC):
            return 1
        return self._step_in_plain(piece, i, kind, before)

    def _end(self, piece: bytes, i: int, kind: bytes) -> int:
        """Close what was opened last; the length of the mark that does."""
        self._open.pop()
        if kind != _ARITHMETIC:
            return 1
        if piece[i + 1 : i + 2] != b")":
            self._lose("`((` that is no arithmetic")
            return 1
        return 2

    def _begin(self, piece: bytes, i: int, kind: bytes) -> int:
        """Open what may begin in any text that is not quoted singly; the length of its mark."""
        if piece.startswith(b"$$", i):
            self._last = b"x"
            return 2
        for mark, opened in _OPENS:
            if piece.startswith(mark, i):
                self._open.append(opened)
                self._last = mark[-1:]
                return len(mark)
        if piece.startswith(b"`", i):
            if kind == _BACKTICKS:
                self._open.pop()
            elif _BACKTICKS in self._open:
                self._lose("backticks in backticks")
            else:
                self._open.append(_BACKTICKS)
            return 1
        return 0

    def _begin_quotes(self, char: bytes, kind: bytes, before: bytes) -> None:
        """Open quotes outside of any, where it is certain that they are."""
        if char == b"'" and kind in (_ARITHMETIC, _IN_ARITHMETIC):
            self._lose("a single quote in arithmetic")
        elif (
            char == b"'"
            and kind == _BRACES
            and (self._in_document or b'"' in self._open or before == b"$")
        ):
            self._lose("a single quote in ${ }")
        else:
            self._open.append(char)

    def _step_in_plain(self, piece: bytes, i: int, kind: bytes, before: bytes) -> int:
        char = piece[i : i + 1]
        if char == b"#" and before in b" \t\n;&|":
            self._is_comment = True
            if _BACKTICKS in self._open:
                self._lose("a comment in backticks")
        elif char == b"#" and before in b"()<>`":
            self._lose("`#` that may begin a comment")
        elif piece.startswith((b"$'", b"$[", b"((", b"<<"), i):
            return self._step_by_two(piece, i)
        elif char == b"(" and _SUBSTITUTION in self._open:
            self._open.append(_SUBSTITUTION)
        elif kind == _SUBSTITUTION and before in b" \t\n;&|({" and _CASE.match(piece, i):
            self._lose("`case` in a substitution")  # its patterns end with a parenthesis
        return 1

    def _step_by_two(self, piece: bytes, i: int) -> int:
        mark = piece[i : i + 2]
        if mark == b"$'":
            self._open.append(mark)
        elif mark == b"$[":
            self._lose("`$[`")
        elif mark == b"((":
            self._open.append(_ARITHMETIC)
        elif piece.startswith(b"<<<", i):
            return 3
        elif (here := _HERE.match(piece, i)) and not self._in_document:
            name, is_raw = here[3] or here[5], bool(here[2] or here[4])
            self._documents.append(_Document(name, bool(here[1]), is_raw, len(self._open)))
            self._line += here[0][1:]
            return len(here[0])
        else:
            self._lose("`<<` and what it was not expected to be followed by")
        return 2

    def _end_line(self) -> None:
        if self._in_document:
            document = self._documents[0]
            line = self._line.lstrip(b"\t") if document.has_tabs else self._line
            if line == document.delimiter:
                del self._open[document.depth :], self._documents[0]
        is_first = bool(self._documents) and not self._in_document
        if is_first and len(self._open) != self._documents[0].depth:
            self._lose("a here-document in the midst of something else")
        self._in_document = bool(self._documents)
        self._is_comment = False
        self._line, self._last, self._has_text = b"", b"\n", False
