"""HTML: headings, paragraphs, lists, tables and code, of what a reader would see."""

import re
from typing import BinaryIO

from lxml import etree

from services.documents.parsing.formats.text import decode
from services.documents.parsing.formats.transcript import Transcript

_CHARSET = re.compile(rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]+)""", re.IGNORECASE)
_CHARSET_BYTES = 4096
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_UNSEEN = {
    *("head", "script", "style", "template", "noscript", "svg", "iframe", "object", "canvas", "annotation", "nav"),
    *("audio", "video", "select", "button", "datalist"),
}
_INLINE = {
    *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins"),
    *("kbd", "label", "mark", "math", "mi", "mn", "mo", "mrow", "msub", "msup", "q", "ruby", "s", "samp", "semantics"),
    *("small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "img", "br", "nobr"),
}
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)


def read(source: BinaryIO, out: Transcript) -> None:
    """The body of the page."""
    data = source.read()
    declared = _CHARSET.search(data[:_CHARSET_BYTES])
    write(decode(data, out, declared[1].decode("ascii", "ignore") if declared else ""), out)


def write(text: str, out: Transcript) -> None:
    """The text of a page into a transcript."""
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=True, remove_comments=True, remove_pis=True)
    data = text.encode("utf-8", "replace")
    root = etree.fromstring(data, parser) if text.strip() else None
    if any(problem.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for problem in parser.error_log):
        # libxml2 stops at a depth of 2,048, without an error where it is to recover from what is wrong.
        out.warn("The page is too deep: what follows was left out.")
    if root is None:
        return
    _Writer(out).write(root)


class _Writer:
    """Walks through a tree without recursion: trees that mean harm are deep."""

    def __init__(self, out: Transcript) -> None:
        self._out = out
        self._text: list[str] = []
        self._level = 0
        self._items = 0
        self._code = 0

    def write(self, root: etree._Element) -> None:
        """All that is seen below."""
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            tag = str(element.tag)
            if event == "start":
                if tag == "table" and _is_data(element):
                    self._flush()
                    self._out.paragraph(" ".join(_inner_text(caption) for caption in element.iter("caption")))
                    self._out.table([_inner_text(cell) for cell in row.iter("td", "th")] for row in element.iter("tr"))
                    walk.skip_subtree()
                elif tag in _UNSEEN or "hidden" in element.attrib or _HIDDEN.search(element.get("style", "")):
                    walk.skip_subtree()
                    # What is cut out of the walk has its end told all the same; its own text is not looked at.
                else:
                    self._start(tag, element)
            else:
                self._end(tag)
                self._text.append(element.tail or "")
        self._flush()

    def _start(self, tag: str, element: etree._Element) -> None:
        if tag not in _INLINE:
            self._flush()
        self._level = _HEADINGS.get(tag, self._level)
        self._items += tag == "li"
        self._code += tag == "pre"
        if tag == "br":
            self._text.append("\n")
        elif tag == "img":
            self._text.append(f" {element.get('alt', '')} ")
        self._text.append(element.text or "")

    def _end(self, tag: str) -> None:
        if tag not in _INLINE:
            self._flush()
        if tag in _HEADINGS:
            self._level = 0
        self._items -= tag == "li"
        self._code -= tag == "pre"

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if self._code:
            self._out.code(text)
        elif self._level:
            self._out.heading(text, self._level)
        elif self._items:
            self._out.item(text)
        else:
            self._out.paragraph(" ".join(text.split()))


def _is_data(table: etree._Element) -> bool:
    """Whether a table is one, and no frame around other things: pages and mails are laid out in tables of one cell."""
    return table.find(".//table") is None and any(len(row) > 1 for row in table.iter("tr"))


def _inner_text(element: etree._Element) -> str:
    walk = etree.iterwalk(element, events=("start", "end"))
    parts: list[str] = []
    for event, one in walk:
        if event == "end":
            parts.append("" if one.tag in _INLINE and one.tag != "br" else " ")
            parts.append((one.tail or "") if one is not element else "")
        elif one.tag in _UNSEEN or _HIDDEN.search(one.get("style", "")):
            walk.skip_subtree()
        else:
            parts.append(one.get("alt", "") if one.tag == "img" else one.text or "")
    return "".join(parts)
