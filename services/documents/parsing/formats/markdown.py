"""Markdown: its blocks, with inline marks as they were written (CommonMark, and the tables of GitHub)."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from services.documents.parsing.formats.text import decode
from services.documents.parsing.formats.transcript import Transcript

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_BREAK = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])[ \t]+(?=\S)")
_TABLE_RULE = re.compile(r"(?=[^-]*-)[|:\- \t]+$")
_CELL_END = re.compile(r"(?<!\\)\|")
_QUOTE = re.compile(r" {0,3}>[ \t]?")


def read(source: BinaryIO, out: Transcript) -> None:
    """Block by block."""
    write(decode(source.read(), out), out)


def write(text: str, out: Transcript) -> None:
    """The blocks of a text into a transcript."""
    _Writer(text.splitlines(), out).write()


class _Writer:
    """Goes through the lines once; `_at` is the next."""

    def __init__(self, lines: Sequence[str], out: Transcript) -> None:
        self._lines = lines
        self._out = out
        self._at = 0
        self._paragraph: list[str] = []

    def write(self) -> None:
        """All lines."""
        if self._lines and self._lines[0].strip() == "---":
            self._front_matter()
        while self._at < len(self._lines):
            line = _QUOTE.sub("", self._lines[self._at])
            self._at += 1
            self._line(line)
        self._end_paragraph()

    def _line(self, line: str) -> None:
        fence, heading = _FENCE.match(line), _ATX.match(line)
        underline = _UNDERLINE.match(line) if self._paragraph else None
        if fence:
            self._end_paragraph()
            self._out.code("\n".join(self._fenced(fence[1])))
        elif heading:
            self._end_paragraph()
            title = line[heading.end() :].strip()
            # Signs at the end belong to it only where they touch its last word.
            closed = title.rstrip("#")
            self._out.heading(title if closed and not closed[-1].isspace() else closed, len(heading[1]))
        elif underline:
            title, self._paragraph = " ".join(self._paragraph), []
            self._out.heading(title, 1 if underline[1].startswith("=") else 2)
        elif _BREAK.match(line) or not line.strip():
            self._end_paragraph()
        elif "|" in line and self._at < len(self._lines) and _TABLE_RULE.match(self._lines[self._at]):
            self._end_paragraph()
            self._at += 1
            self._out.table([_cells(line), *map(_cells, self._table_rows())])
        elif _ITEM.match(line):
            self._end_paragraph()
            self._out.item(" ".join([_ITEM.sub("", line, count=1), *self._continued()]))
        else:
            self._paragraph.append(line)

    def _end_paragraph(self) -> None:
        self._out.paragraph("\n".join(self._paragraph))
        self._paragraph = []

    def _front_matter(self) -> None:
        """Properties between two rules at the very beginning, as many tools write them."""
        for end in range(1, len(self._lines)):
            if self._lines[end].strip() in ("---", "..."):
                self._out.code("\n".join(self._lines[1:end]))
                self._at = end + 1
                return

    def _fenced(self, fence: str) -> Iterator[str]:
        """The lines up to the fence that closes, or the end."""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                return
            yield line

    def _table_rows(self) -> Iterator[str]:
        while self._at < len(self._lines) and "|" in self._lines[self._at]:
            self._at += 1
            yield self._lines[self._at - 1]

    def _continued(self) -> Iterator[str]:
        """The lines of an item that follow its first."""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not line.startswith(" ") or not line.strip() or _ITEM.match(line) or _FENCE.match(line):
                return
            self._at += 1
            yield line.strip()


def _cells(row: str) -> list[str]:
    row = row.strip().removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(row)]
