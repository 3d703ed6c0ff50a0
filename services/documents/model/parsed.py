"""What parsing makes of a file: blocks of text in reading order, each with its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import orjson

# What stands between two blocks in the plain text.
GAP = "\n\n"
_FORMAT = 2


class BlockKind(StrEnum):
    """What a block is; in tables, lists and code every line counts."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    TABLE = "table"
    LIST = "list"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document: `text` stands at [start, end) of its plain text, in code points.

    `level` is that of a heading (1 is the highest), else 0. `page` counts from 1: the page of a PDF, the slide, the
    sheet; None where the format has none. The first row of a table is its header, cells are parted by ` | `.
    `language` is its own, where it is clearly another one than the document's, else empty.
    """

    kind: BlockKind
    text: str
    level: int
    page: int | None
    start: int
    end: int
    language: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A block that has no place in a document yet."""

    kind: BlockKind
    text: str
    level: int = 0
    page: int | None = None
    language: str = ""


class NotParsed(ValueError):
    """What was read is no parsed document; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document as text. `language` is an ISO 639-1 code or empty, `page_count` as the file has it.

    `warnings` say in words that a person may read what was left out.
    """

    language: str
    page_count: int
    blocks: tuple[Block, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(
        cls,
        drafts: Sequence[Draft],
        *,
        language: str = "",
        page_count: int = 0,
        warnings: Sequence[str] = (),
    ) -> Self:
        """A document of these blocks, in this order."""
        blocks = []
        start = 0
        for draft in drafts:
            end = start + len(draft.text)
            blocks.append(Block(draft.kind, draft.text, draft.level, draft.page, start, end, draft.language))
            start = end + len(GAP)
        return cls(language, page_count, tuple(blocks), tuple(warnings))

    @property
    def text(self) -> str:
        """The plain text, which the offsets of blocks and chunks refer to."""
        return GAP.join(block.text for block in self.blocks)

    def to_json(self) -> bytes:
        """Compact UTF-8 JSON. Offsets are left out: they follow from the texts."""
        return orjson.dumps(
            {
                "format": _FORMAT,
                "language": self.language,
                "page_count": self.page_count,
                "blocks": [[block.kind, block.level, block.page, block.text, block.language] for block in self.blocks],
                "warnings": self.warnings,
            }
        )

    @classmethod
    def from_json(cls, data: bytes | memoryview) -> Self:
        """Read what `to_json` wrote, trusting nothing. Raises NotParsed."""
        try:
            fields = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise NotParsed("it is no JSON") from error
        if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
            raise NotParsed(f"it is not of format {_FORMAT}")
        language, page_count = fields.get("language"), fields.get("page_count")
        blocks, warnings = fields.get("blocks"), fields.get("warnings")
        if not isinstance(language, str):
            raise NotParsed("the language is a text")
        if not isinstance(page_count, int) or page_count < 0:
            raise NotParsed("the number of pages is a number")
        if not isinstance(blocks, list) or not isinstance(warnings, list):
            raise NotParsed("blocks and warnings are lists")
        if not all(isinstance(warning, str) for warning in warnings):
            raise NotParsed("warnings are texts")
        return cls.of(
            [_draft(entry) for entry in blocks],
            language=language,
            page_count=page_count,
            warnings=warnings,
        )


def _draft(entry: object) -> Draft:
    match entry:
        case [str(kind), int(level), None | int() as page, str(text), str(language)] if text and (
            page is None or page > 0
        ):
            try:
                return Draft(BlockKind(kind), text, level, page, language)
            except ValueError as error:
                raise NotParsed("a block is of no kind") from error
    raise NotParsed("a block is a kind, a level, a page, a text and a language")
