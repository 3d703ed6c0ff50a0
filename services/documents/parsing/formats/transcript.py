"""What a format writes down as it reads: blocks, pages, warnings; held to the limits as it goes."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

from services.documents.model.parsed import GAP, BlockKind, Draft
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.limits import Limits
from services.documents.parsing.sniff import sniff

_PROGRESS_SECONDS = 0.2
_WARNINGS = 20
_WARNING_CHARACTERS = 300
_NAME_CHARACTERS = 100
_HEADING_LEVELS = 6
_CELL_GAP = " | "
# Controls, noncharacters, halves of surrogate pairs, soft hyphens, what is invisible inside of words: nothing that can
# be searched, or stored. PostgreSQL refuses U+0000, JSON refuses surrogates.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060-\u2064\ud800-\udfff\ufeff\ufff9-\uffff]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BLANK_LINES = re.compile(r"\n{3,}")


class Full(ParseFailed):
    """No more text, or pages, than this of one document."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.TOO_LARGE, message)


class Transcript:
    """Collects one document. `read` reads a file inside of it, as a media type, into this transcript."""

    def __init__(
        self,
        limits: Limits,
        progress: Callable[[int], None],
        read: Callable[[BinaryIO, str, "Transcript"], None],
    ) -> None:
        self.limits = limits
        self.page_count = 0
        self.depth = 0
        self._progress = progress
        self._read = read
        self._drafts: list[Draft] = []
        self._items: list[str] = []
        self._warnings: list[str] = []
        self._characters = 0
        self._attachments = 0
        self._page: int | None = None
        self._told, self._told_pages = time.monotonic(), 0

    @property
    def drafts(self) -> Sequence[Draft]:
        """The blocks so far."""
        self._end_list()
        return self._drafts

    @property
    def warnings(self) -> Sequence[str]:
        """What people should know was left out."""
        return self._warnings

    def start_page(self) -> None:
        """What comes stands on the next page, slide or sheet; what came before is done. Raises Full."""
        self._end_list()
        if self.depth:
            return
        if self.page_count >= self.limits.pages:
            raise Full(f"The document has more than {self.limits.pages:,} pages.")
        self.done(self.page_count)
        self.page_count += 1
        self._page = self.page_count

    def done(self, pages: int) -> None:
        """So many pages have been read; told on now and then, and never backwards."""
        now = time.monotonic()
        if not self.depth and pages > self._told_pages and now - self._told > _PROGRESS_SECONDS:
            self._progress(pages)
            self._told, self._told_pages = now, pages

    def heading(self, text: str, level: int = 1) -> None:
        """A heading, on one line."""
        self._add(BlockKind.HEADING, " ".join(text.split()), min(max(level, 1), _HEADING_LEVELS))

    def paragraph(self, text: str) -> None:
        """Running text; its line ends stay."""
        self._add(BlockKind.PARAGRAPH, text)

    def code(self, text: str) -> None:
        """Text whose lines and indents matter."""
        self._add(BlockKind.CODE, text)

    def item(self, text: str) -> None:
        """An entry of a list; entries in a row are one block."""
        self._check_room(len(text))
        line = " ".join(_cleaned(text).split())
        if line:
            self._count(line)
            self._items.append(f"- {line}")

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """A table, its header first. Empty rows, and empty cells at the end of a row, are left out."""
        lines = []
        for row in rows:
            self._check_room(sum(map(len, row)))
            cells = [" ".join(_cleaned(cell).split()) for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                line = _CELL_GAP.join(cells)
                self._count(line)
                lines.append(line)
        if lines:
            self._end_list()
            self._drafts.append(Draft(BlockKind.TABLE, "\n".join(lines).strip(), page=self._page))

    def warn(self, message: str) -> None:
        """Something is missing here."""
        if len(self._warnings) < _WARNINGS:
            self._warnings.append(_cleaned(message[:_WARNING_CHARACTERS]))

    def attach(self, name: str, data: bytes) -> None:
        """A file inside of this one, under a heading of its name. One that cannot be read is a warning."""
        # What it is called is for people; nothing hangs on it but its end, which may tell what it is.
        name = name if len(name) <= _NAME_CHARACTERS else f"…{name[-_NAME_CHARACTERS:]}"
        if self._attachments >= self.limits.attachments or self.depth >= self.limits.depth:
            self.warn(f"The attachment {name} was left out: there are too many of them, or they are nested too deeply.")
            return
        self._attachments += 1
        with self._inside():
            self.heading(name, 2)
            try:
                self._read(BytesIO(data), sniff(BytesIO(data), name), self)
            except Full:
                raise
            except ParseFailed as failed:
                self.warn(f"The attachment {name} was left out: {failed.message}")

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Pages of a file inside are not those of the document."""
        page = self._page
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            self._page = page

    def _add(self, kind: BlockKind, text: str, level: int = 0) -> None:
        self._check_room(len(text))
        text = _cleaned(text)
        text = text.strip("\n") if kind is BlockKind.CODE else text.strip()
        if text.strip():
            self._end_list()
            self._count(text)
            self._drafts.append(Draft(kind, text, level, self._page))

    def _end_list(self) -> None:
        if self._items:
            self._drafts.append(Draft(BlockKind.LIST, "\n".join(self._items), page=self._page))
            self._items = []

    def _count(self, text: str) -> None:
        self._check_room(len(text))
        self._characters += len(text) + len(GAP)

    def _check_room(self, more: int) -> None:
        """What is too long is not even cleaned."""
        if self._characters + more > self.limits.characters:
            raise Full(f"The document has more than {self.limits.characters:,} characters of text.")


def _cleaned(text: str) -> str:
    # Most cells and many lines are; what ends a line, or is in any way odd, is not printable.
    if text.isprintable():
        return text.rstrip()
    text = _LINE_ENDS.sub("\n", text)
    text = _UNWANTED.sub("", text).replace("\xa0", " ")
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in text.split("\n")))
