"""DOCX: paragraphs, headings by style, lists, tables, text boxes, notes, comments; pages where Word has left marks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lxml import etree

from services.documents.parsing.formats.package import Package, attribute, children, find, local
from services.documents.parsing.formats.transcript import Transcript

_HEADING_STYLE = re.compile(r"heading (\d)$")
# What is no text of the document: deletions, field codes, the second form of what is there already, properties.
_SKIPPED = {"del", "moveFrom", "delText", "instrText", "Fallback", "txbxContent", "pPr", "rPr", "sectPr"}
# What stands before a part of a formula: a fraction's denominator, exponents, indices.
_FORMULA_SIGNS = {"den": "/", "sup": "^", "sub": "_"}
_NOTES = ("footnotes", "endnotes", "comments")


@dataclass(frozen=True, slots=True)
class _Style:
    name: str
    parent: str
    level: int
    listed: bool


def read(source: BinaryIO, out: Transcript) -> None:
    """The body, then notes and comments."""
    package = Package(source, out.limits)
    document = package.xml(package.main)
    reader = _Reader(out, _styles(package), document)
    for body in children(document, "body"):
        reader.blocks(body)
    for kind in _NOTES:
        notes = package.related(package.main, kind)
        for note in notes if notes is not None else ():
            # Those with a type are the lines that part notes from the text.
            if not attribute(note, "type"):
                reader.blocks(note)


def _styles(package: Package) -> dict[str, _Style]:
    root = package.related(package.main, "styles")
    return {
        attribute(style, "styleId"): _Style(
            _value(style, "name").lower(),
            _value(style, "basedOn"),
            _outline(style),
            find(style, "pPr", "numPr") is not None,
        )
        for style in (children(root, "style") if root is not None else ())
    }


def _value(element: etree._Element, *path: str) -> str:
    found = find(element, *path)
    return attribute(found, "val") if found is not None else ""


def _outline(element: etree._Element) -> int:
    """The level of a heading, from 1; 0 for body text, which Word counts as 9."""
    outline = _value(element, "pPr", "outlineLvl")
    return int(outline) + 1 if outline.isdigit() and int(outline) < 9 else 0


class _Reader:
    """Walks through a document and keeps count of its pages."""

    def __init__(self, out: Transcript, styles: dict[str, _Style], document: etree._Element) -> None:
        self._out = out
        self._styles = styles
        # Word marks where its pages began when it last laid the document out; those who write files otherwise do not.
        rendered = next(document.iter("{*}lastRenderedPageBreak"), None) is not None
        self._page_marks = ("lastRenderedPageBreak",) if rendered else ("br",)
        self._paged = rendered or any(attribute(mark, "type") == "page" for mark in document.iter("{*}br"))
        if self._paged:
            out.start_page()

    def blocks(self, container: etree._Element) -> None:
        """Paragraphs and tables, also inside of controls and revisions."""
        for element in container:
            match local(element):
                case "p":
                    self._paragraph(element)
                case "tbl":
                    self._out.table(self._rows(element))
                case "sdt" | "sdtContent" | "customXml" | "ins" | "moveTo" | "smartTag":
                    self.blocks(element)

    def _paragraph(self, paragraph: etree._Element) -> None:
        style = _value(paragraph, "pPr", "pStyle")
        text = "".join(self._text(paragraph))
        level = _outline(paragraph) or self._level(style)
        if level:
            self._out.heading(text, level)
        elif find(paragraph, "pPr", "numPr") is not None or self._listed(style):
            self._out.item(text)
        else:
            self._out.paragraph(text)
        for box in paragraph.iter("{*}txbxContent"):
            if next(box.iterancestors("{*}Fallback", "{*}txbxContent"), None) is None:
                self.blocks(box)

    def _text(self, element: etree._Element) -> Iterator[str]:
        """The text of a paragraph as it is read; a page that begins in it is begun."""
        for child in element:
            name = local(child)
            if name in _SKIPPED:
                continue
            if name == "t":
                yield child.text or ""
            elif name in self._page_marks and (name != "br" or attribute(child, "type") == "page"):
                self._out.start_page()
            elif name in ("br", "cr"):
                yield "\n"
            elif name in ("tab", "ptab"):
                yield " "
            elif name == "noBreakHyphen":
                yield "-"
            else:
                yield _FORMULA_SIGNS.get(name, "")
                yield from self._text(child)

    def _rows(self, table: etree._Element) -> Iterator[list[str]]:
        for row in table.iter("{*}tr"):
            # Rows of a table inside of a cell are text of that cell.
            if next(row.iterancestors("{*}tbl"), None) is table:
                yield [self._cell(cell) for cell in _cells(row)]

    def _cell(self, cell: etree._Element) -> str:
        return " ".join("".join(self._text(paragraph)) for paragraph in cell.iter("{*}p"))

    def _level(self, style: str) -> int:
        for one in self._lineage(style):
            heading = _HEADING_STYLE.match(one.name)
            if heading or one.level or one.name == "title":
                return int(heading[1]) if heading else one.level or 1
        return 0

    def _listed(self, style: str) -> bool:
        return any(one.listed for one in self._lineage(style))

    def _lineage(self, style: str) -> Iterator[_Style]:
        """A style and those it is based on, which may go in a circle in a file that means harm."""
        seen = set()
        while style in self._styles and style not in seen:
            seen.add(style)
            yield self._styles[style]
            style = self._styles[style].parent


def _cells(row: etree._Element) -> Iterator[etree._Element]:
    for child in row:
        if local(child) == "tc":
            yield child
        elif local(child) in ("sdt", "sdtContent", "customXml"):
            yield from _cells(child)
