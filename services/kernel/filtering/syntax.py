"""The filter language of lists (AIP-160), from text to a tree and back.

    expression  = sequence {"AND" sequence}
    sequence    = factor {factor}                 what stands side by side is joined by AND
    factor      = term {"OR" term}                so OR binds tighter than AND
    term        = ["NOT" | "-"] (restriction | "(" expression ")")
    restriction = field (":" | "=" | "!=" | "<" | "<=" | ">" | ">=") value
    value       = word | '"' text '"' | "'" text "'"

A `*` in a value stands for any characters. Between quotes, a backslash before `*`, a quote or a backslash takes their
meaning away. A value that stands alone, and functions, are refused: Plinth's lists name what they compare.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from services.kernel.errors import FilterInvalid

MAX_LENGTH = 2000
MAX_DEPTH = 16
MAX_RESTRICTIONS = 64

_KEYWORDS = frozenset({"AND", "OR", "NOT"})
_BLANKS = " \t\r\n"
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_COMPARATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_WORD = re.compile(r"""[^\s()"'<>=!\\]+""")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")
_SPECIAL = re.compile(r'[*"\\]')


class Comparator(StrEnum):
    """How a field is compared."""

    HAS = ":"
    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True)
class Value:
    """What a field is compared with: the texts between its wildcards, so one text where there is no wildcard."""

    parts: tuple[str, ...]

    @property
    def anything(self) -> bool:
        """Whether it is a single `*`: any value at all."""
        return self.parts == ("", "")

    @property
    def text(self) -> str | None:
        """The text; None where there is a wildcard in it."""
        return self.parts[0] if len(self.parts) == 1 else None

    def __str__(self) -> str:
        if self.anything:
            return "*"
        text = self.text
        if text is not None and text not in _KEYWORDS and _PLAIN_WORD.fullmatch(text):
            return text
        return '"' + "*".join(_SPECIAL.sub(r"\\\g<0>", part) for part in self.parts) + '"'


@dataclass(frozen=True, slots=True)
class Restriction:
    """One comparison. Positions count the characters of the filter from 1, and are no part of what it says."""

    name: str
    comparator: Comparator
    value: Value
    name_at: int = field(default=1, compare=False)
    value_at: int = field(default=1, compare=False)

    def __str__(self) -> str:
        blank = "" if self.comparator is Comparator.HAS else " "
        return f"{self.name}{blank}{self.comparator}{blank}{self.value}"


@dataclass(frozen=True, slots=True)
class Not:
    """What its part does not let through."""

    part: "Node"

    def __str__(self) -> str:
        return f"NOT {_grouped(self.part, Restriction)}"


@dataclass(frozen=True, slots=True)
class And:
    """What all of its parts let through; there are two at least."""

    parts: tuple["Node", ...]

    def __str__(self) -> str:
        return " AND ".join(_grouped(part, Restriction, Not) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """What any of its parts lets through; there are two at least."""

    parts: tuple["Node", ...]

    def __str__(self) -> str:
        return " OR ".join(_grouped(part, Restriction, Not) for part in self.parts)


Node = Restriction | Not | And | Or


def parse(text: str) -> Node | None:
    """The tree of a filter; None for an empty one. Raises FilterInvalid."""
    if len(text) > MAX_LENGTH:
        raise FilterInvalid(MAX_LENGTH + 1, f"a filter has at most {MAX_LENGTH} characters")
    if "\0" in text:
        raise FilterInvalid(text.index("\0") + 1, "this character cannot stand in a text")
    return _Parser(text).whole()


def _grouped(node: Node, *bare: type[Node]) -> str:
    return str(node) if isinstance(node, bare) else f"({node})"


class _Parser:
    """Recursive descent, one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._restrictions = 0
        self._skip_blanks()

    def whole(self) -> Node | None:
        if self._done():
            return None
        node = self._expression(0)
        if not self._done():
            self._fail("this parenthesis closes nothing")
        return node

    def _expression(self, depth: int) -> Node:
        parts = self._sequence(depth)
        while self._step_over("AND"):
            parts += self._sequence(depth)
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _sequence(self, depth: int) -> list[Node]:
        factors = [self._factor(depth)]
        while not self._done() and not self._stands(")") and not self._stands("AND"):
            factors.append(self._factor(depth))
        return factors

    def _factor(self, depth: int) -> Node:
        terms = [self._term(depth)]
        while self._step_over("OR"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self, depth: int) -> Node:
        negated = self._step_over("NOT") or self._step_over("-")
        node = self._group(depth + 1) if self._stands("(") else self._restriction()
        return Not(node) if negated else node

    def _group(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._fail(f"parentheses are nested at most {MAX_DEPTH} deep")
        opened = self._at
        self._step_over("(")
        node = self._expression(depth)
        if not self._step_over(")"):
            self._fail("this parenthesis is not closed", opened)
        return node

    def _restriction(self) -> Restriction:
        self._restrictions += 1
        if self._restrictions > MAX_RESTRICTIONS:
            self._fail(f"a filter makes at most {MAX_RESTRICTIONS} comparisons")
        name_at = self._at
        name = self._take(_FIELD)
        if name is None or name in _KEYWORDS:
            self._fail("a field is expected", name_at)
        if self._stands("("):
            self._fail("there are no functions", name_at)
        comparator = self._take(_COMPARATOR)
        if comparator is None:
            hint = f"; write {name.upper()} in capitals" if name.upper() in _KEYWORDS else ""
            self._fail(f"`:`, `=`, `!=`, `<`, `<=`, `>` or `>=` is expected{hint}")
        value_at = self._at
        return Restriction(name, Comparator(comparator), self._value(), name_at + 1, value_at + 1)

    def _value(self) -> Value:
        if self._stands('"') or self._stands("'"):
            return self._quoted()
        start = self._at
        word = self._take(_WORD)
        if word is None or word in _KEYWORDS:
            self._fail("a value is expected", start)
        return Value(tuple(word.split("*")))

    def _quoted(self) -> Value:
        opened, quote = self._at, self._text[self._at]
        parts = [""]
        at = opened + 1
        while at < len(self._text) and self._text[at] != quote:
            character = self._text[at]
            if character == "*":
                parts.append("")
            elif character == "\\":
                at += 1
                character = self._text[at : at + 1]
                if character not in ("*", "\\", '"', "'"):
                    self._fail("a backslash stands before `*`, a quote or a backslash only", at - 1)
                parts[-1] += character
            else:
                parts[-1] += character
            at += 1
        if at >= len(self._text):
            self._fail("this quote is not closed", opened)
        self._at = at + 1
        self._skip_blanks()
        return Value(tuple(parts))

    def _stands(self, token: str) -> bool:
        """Whether the token comes next; a keyword ends where a field's name would."""
        if not self._text.startswith(token, self._at):
            return False
        word = _FIELD.match(self._text, self._at)
        return token not in _KEYWORDS or (word is not None and word[0] == token)

    def _step_over(self, token: str) -> bool:
        """Step over the token, if it comes next."""
        if not self._stands(token):
            return False
        self._at += len(token)
        self._skip_blanks()
        return True

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        """Step over what the pattern matches here, if it does."""
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        self._skip_blanks()
        return match[0]

    def _skip_blanks(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _BLANKS:
            self._at += 1

    def _done(self) -> bool:
        return self._at == len(self._text)

    def _fail(self, problem: str, at: int | None = None) -> NoReturn:
        raise FilterInvalid((self._at if at is None else at) + 1, problem)
