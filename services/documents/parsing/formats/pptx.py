"""PPTX: slide by slide its title, texts, tables, charts, diagrams, what its pictures show, and the speaker's notes."""

from collections.abc import Iterator
from typing import BinaryIO

from lxml import etree

from services.documents.parsing.formats.package import Package, attribute, find, local
from services.documents.parsing.formats.transcript import Transcript

_TITLES = ("title", "ctrTitle")
# What repeats on every slide.
_MARGINS = ("dt", "ftr", "sldNum", "hdr", "sldImg")


def read(source: BinaryIO, out: Transcript) -> None:
    """The slides as they are shown; each is a page."""
    package = Package(source, out.limits)
    slides = package.targets(package.main)
    for entry in package.xml(package.main).iter("{*}sldId"):
        # Its own number is an attribute of the same name without a namespace.
        relation = next((str(value) for key, value in entry.attrib.items() if key.endswith("}id")), "")
        out.start_page()
        _Slide(package, slides[relation], out).write()


class _Slide:
    """One slide on its way into a transcript."""

    def __init__(self, package: Package, part: str, out: Transcript) -> None:
        self._package = package
        self._part = part
        self._targets = package.targets(part)
        self._out = out

    def write(self) -> None:
        """Its title first, wherever it stands."""
        shapes = list(_shapes(self._package.xml(self._part)))
        for shape in sorted(shapes, key=lambda shape: _placeholder(shape) not in _TITLES):
            self._write(shape)
        notes = self._package.related(self._part, "notesSlide")
        for shape in _shapes(notes) if notes is not None else ():
            self._write(shape)

    def _write(self, shape: etree._Element) -> None:
        place = _placeholder(shape)
        if place in _MARGINS:
            return
        match local(shape):
            case "sp" | "cxnSp":
                paragraphs = [text for text in map(_text, shape.iter("{*}p")) if text.strip()]
                if place in _TITLES:
                    self._out.heading(" ".join(paragraphs), 1)
                else:
                    self._out.paragraph("\n".join(paragraphs))
            case "pic":
                properties = next(shape.iter("{*}cNvPr"), None)
                self._out.paragraph(attribute(properties, "descr") if properties is not None else "")
            case "graphicFrame":
                self._write_graphic(shape)

    def _write_graphic(self, frame: etree._Element) -> None:
        for table in frame.iter("{*}tbl"):
            self._out.table(
                [" ".join(map(_text, cell.iter("{*}p"))) for cell in row.iter("{*}tc")] for row in table.iter("{*}tr")
            )
        for chart in frame.iter("{*}chart"):
            self._write_chart(self._package.xml(self._targets[attribute(chart, "id")]))
        for diagram in frame.iter("{*}relIds"):
            data = self._package.xml(self._targets[attribute(diagram, "dm")])
            for text in map(_text, data.iter("{*}p")):
                self._out.item(text)

    def _write_chart(self, chart: etree._Element) -> None:
        """Its title, and a table: a row for each category, a column for each series."""
        title = find(chart, "chart", "title")
        self._out.paragraph(" ".join(map(_text, title.iter("{*}p"))) if title is not None else "")
        series = list(chart.iter("{*}ser"))
        if not series:
            return
        columns = [[_points(find(one, "tx")).get(0, ""), *_column(one, "val", "yVal")] for one in series]
        categories = ["", *_column(series[0], "cat", "xVal")]
        height = max(len(categories), *map(len, columns))
        padded = [column + [""] * (height - len(column)) for column in (categories, *columns)]
        self._out.table(zip(*padded, strict=True))


def _shapes(element: etree._Element) -> Iterator[etree._Element]:
    """The shapes of a slide in reading order, those in groups too."""
    for child in element:
        if local(child) in ("sp", "cxnSp", "pic", "graphicFrame"):
            yield child
        elif local(child) in ("cSld", "spTree", "grpSp"):
            yield from _shapes(child)
        elif local(child) == "AlternateContent":
            # The second form is for programs that cannot show the first.
            yield from _shapes(child[0])


def _placeholder(shape: etree._Element) -> str:
    place = next(shape.iter("{*}ph"), None)
    return attribute(place, "type") if place is not None else ""


def _text(paragraph: etree._Element) -> str:
    return "".join(
        (run.text or "") if local(run) == "t" else "\n" if local(run) == "br" else " "
        for run in paragraph.iter("{*}t", "{*}br", "{*}tab")
    )


def _points(data: etree._Element | None) -> dict[int, str]:
    """The values that a chart keeps of its sheet, by their places."""
    points = data.iter("{*}pt") if data is not None else ()
    return {int(point.get("idx", "0")): "".join(point.itertext()) for point in points}


def _column(series: etree._Element, *names: str) -> list[str]:
    points: dict[int, str] = next((_points(data) for name in names if (data := find(series, name)) is not None), {})
    return [points[place] for place in sorted(points)]
