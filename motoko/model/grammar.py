"""The grammar of constraints: a text becomes a tree of comparisons, with their places.

::

    constraint  = clause { ("," | "and" | "or") clause }      "," and "or" do not mix
    clause      = "(" constraint ")" | comparison
    comparison  = name operator value
    name        = [ "runs." | "jobs." ] word
    operator    = "=" "==" "!=" "<" ">" "<=" ">=" "~" "~*" "!~" "!~*"
    value       = quoted | unquoted

``and`` binds closer than ``or``; the words may be in capitals. A quoted value stands between
two ``'`` or two ``"``, and holds that sign by doubling it. An unquoted one may hold blanks and
ends at ``,``, ``and``, ``or`` or ``)``, unless these are inside brackets that it opened; it
holds no ``=``, ``<`` or ``>`` (but a regular expression may), since a forgotten comma would
otherwise make it swallow the next comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from motoko.errors import ConstraintError

OPERATORS = ("=", "!=", "<", ">", "<=", ">=", "~", "~*", "!~", "!~*")
REGEX_OPERATORS = frozenset({"~", "~*", "!~", "!~*"})

_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)?")
_OPERATOR = re.compile(r"!~\*?|~\*?|[=<>!]+~?")
_KEYWORD = re.compile(r"(and|or)(?=[\s(]|$)", re.IGNORECASE)
_BLANKS = re.compile(r"\s*")
_SWALLOWED = re.compile(r"[=<>]|![=~]|(?<=\s)~(?=[\s*])")
_MAYBE_CLAUSE = re.compile(r"\s([^\W\d]\w*(?:\.\w+)?)\s*(?:[=<>~]|![=~])")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MAX_DEPTH = 100


@dataclass(frozen=True)
class Comparison:
    """One ``name operator value``, with where in the text each of them starts."""

    name: str
    name_at: int
    operator: str
    operator_at: int
    value: str
    value_at: int
    is_quoted: bool

    @property
    def is_regex(self) -> bool:
        """Whether the value is a regular expression."""
        return self.operator in REGEX_OPERATORS


@dataclass(frozen=True)
class Every:
    """All of the parts hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    """One of the parts holds, at least."""

    parts: tuple[Node, ...]


Node = Comparison | Every | Either


def parse_text(text: str, is_name: Callable[[str], bool]) -> Node | None:
    """The tree of a constraint, None for nothing but blanks; raises ConstraintError.

    ``is_name`` tells which words name an entry: it serves to notice a comma forgotten behind
    an unquoted regular expression.
    """
    parser = _Parser(text, is_name)
    if parser.is_at_end():
        return None
    node = parser.constraint(0)
    if not parser.is_at_end():
        raise parser.error("')' without its '('")
    return node


def quoted(value: str) -> str:
    """A value as it can stand in a constraint, whatever it holds."""
    return "'" + value.replace("'", "''") + "'"


def written(node: Node) -> str:
    """A tree as a text that means the same."""
    if isinstance(node, Comparison):
        value = quoted(node.value) if node.is_quoted else node.value
        return f"{node.name} {node.operator} {value}"
    parts = (written(p) if isinstance(p, Comparison) else f"({written(p)})" for p in node.parts)
    return (" and " if isinstance(node, Every) else " or ").join(parts)


class _Parser:
    """One pass over a text, from left to right; ``at`` is the place reached."""

    def __init__(self, text: str, is_name: Callable[[str], bool]) -> None:
        self.text = text
        self.is_name = is_name
        self.at = 0

    def error(self, why: str, at: int | None = None) -> ConstraintError:
        return ConstraintError(self.text, self.at if at is None else at, why)

    def skip_blanks(self) -> None:
        match = _BLANKS.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def is_at_end(self) -> bool:
        self.skip_blanks()
        return self.at >= len(self.text)

    def next_is(self, characters: str) -> bool:
        self.skip_blanks()
        return self.at < len(self.text) and self.text[self.at] in characters

    def constraint(self, depth: int) -> Node:
        """Clauses up to the end of the text or an unopened ``)``."""
        if depth > _MAX_DEPTH:
            raise self.error("parentheses nested too deeply")
        alternatives: list[list[Node]] = [[self.clause(depth, "")]]
        first: dict[str, int] = {}
        while not self.is_at_end() and not self.next_is(")"):
            place, word = self.at, self.separator()
            first.setdefault(word, place)
            if "," in first and "or" in first:
                why = "',' and 'or' side by side: use 'and', and parentheses to say which"
                raise self.error(why, place)
            clause = self.clause(depth, word)
            if word == "or":
                alternatives.append([clause])
            else:
                alternatives[-1].append(clause)
        nodes = [part[0] if len(part) == 1 else Every(tuple(part)) for part in alternatives]
        return nodes[0] if len(nodes) == 1 else Either(tuple(nodes))

    def separator(self) -> str:
        if self.next_is(","):
            self.at += 1
            return ","
        keyword = _KEYWORD.match(self.text, self.at)
        if keyword is None:
            raise self.error("expected ',', 'and' or 'or'")
        self.at = keyword.end()
        return keyword[1].lower()

    def clause(self, depth: int, after: str) -> Node:
        if self.next_is("("):
            opened = self.at
            self.at += 1
            node = self.constraint(depth + 1)
            if not self.next_is(")"):
                raise self.error("'(' is never closed", opened)
            self.at += 1
            return node
        return self.comparison(after)

    def comparison(self, after: str) -> Comparison:
        self.skip_blanks()
        name_at = self.at
        match = _NAME.match(self.text, name_at)
        if match is None or _KEYWORD.fullmatch(match[0]):
            raise self.error(f"expected a name after {after!r}" if after else "expected a name")
        name = match[0]
        self.at = match.end()
        self.skip_blanks()
        operator_at = self.at
        operator = self.operator(name, after)
        self.skip_blanks()
        value_at = self.at
        if self.at >= len(self.text) or _KEYWORD.match(self.text, self.at):
            raise self.error(f"expected a value after {operator!r}")
        is_quoted = self.text[self.at] in "'\""
        if is_quoted:
            value = self.quoted_value()
        else:
            value = self.unquoted_value(operator)
        return Comparison(name, name_at, operator, operator_at, value, value_at, is_quoted)

    def operator(self, name: str, after: str) -> str:
        match = _OPERATOR.match(self.text, self.at)
        if match is None:
            hint = f" (a value that holds {after!r} needs quotes)" if after else ""
            raise self.error(f"expected an operator after {name!r}{hint}")
        operator = "=" if match[0] == "==" else match[0]
        if operator not in OPERATORS:
            known = " ".join(OPERATORS)
            raise self.error(f"unknown operator {operator!r} (known: {known})")
        self.at = match.end()
        return operator

    def quoted_value(self) -> str:
        opened, mark = self.at, self.text[self.at]
        end = opened + 1
        while True:
            end = self.text.find(mark, end)
            if end < 0:
                raise self.error("the quote is never closed", opened)
            if self.text[end + 1 : end + 2] != mark:
                break
            end += 2
        self.at = end + 1
        if not self.is_at_end() and not self.next_is(",)") and not self.is_at_keyword():
            raise self.error("expected ',', 'and' or 'or' after the quoted value")
        return self.text[opened + 1 : end].replace(mark * 2, mark)

    def is_at_keyword(self) -> bool:
        return _KEYWORD.match(self.text, self.at) is not None

    def unquoted_value(self, operator: str) -> str:
        start = self.at
        end = self.end_of_unquoted(operator in REGEX_OPERATORS)
        value = self.text[start:end].rstrip()
        if not value:
            raise self.error(f"expected a value after {operator!r}")
        if operator in REGEX_OPERATORS:
            for match in _MAYBE_CLAUSE.finditer(self.text, start, end):
                if self.is_name(match[1]):
                    raise self.missing_separator(match.start(1))
        self.at = end
        return value

    def missing_separator(self, at: int) -> ConstraintError:
        return self.error("',' or 'and' is missing before this, or quotes around the value", at)

    def end_of_unquoted(self, is_regex: bool) -> int:
        """Where an unquoted value ends; brackets opened in it hide what is inside them."""
        text, at = self.text, self.at
        opened: list[tuple[str, int]] = []
        while at < len(text):
            char = text[at]
            if is_regex and char == "\\":
                at += 2
                continue
            in_class = is_regex and bool(opened) and opened[-1][0] == "["
            if opened and char == _CLOSING[opened[-1][0]]:
                if not (in_class and at == opened[-1][1] + 1):
                    opened.pop()
            elif char in _CLOSING and not in_class:
                opened.append((char, at))
            elif not opened:
                if char in ",)":
                    break
                if char.isspace() and _KEYWORD.match(text, at + 1):
                    break
                if not is_regex and (match := _SWALLOWED.match(text, at)):
                    raise self.missing_separator(match.start())
            at += 1
        else:
            if opened:
                char, place = opened[-1]
                raise self.error(f"{char!r} is never closed: put the value in quotes", place)
        return min(at, len(text))
