"""Files of all kinds, made by hand as far as their readers need it."""

import io
import zlib
from collections.abc import Mapping, Sequence
from zipfile import ZIP_DEFLATED, ZipFile

from openpyxl import Workbook
from pypdf import PdfReader, PdfWriter

_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_CORE = "http://schemas.openxmlformats.org/package/2006/metadata/core-properties"


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip of these files."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def relations(*targets: tuple[str, str, str]) -> str:
    """The relationships of a part: id, kind, target."""
    entries = "".join(f'<Relationship Id="{i}" Type="{_OFFICE}/{kind}" Target="{to}"/>' for i, kind, to in targets)
    return f'<Relationships xmlns="{_RELATIONS}">{entries}</Relationships>'


def docx(body: str, *, prolog: str = "", parts: Mapping[str, str | bytes] | None = None, related: str = "") -> bytes:
    """A Word document with this body, of elements in the namespace `w`."""
    return zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": relations(("r1", "officeDocument", "word/document.xml")),
            "word/_rels/document.xml.rels": related or relations(),
            "word/document.xml": f'{prolog}<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
            **(parts or {}),
        }
    )


def paragraph(text: str, properties: str = "") -> str:
    """A paragraph of Word's."""
    return f'<w:p xmlns:w="{_WORD}"><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'


def pptx(slides: Sequence[tuple[str, str, str]]) -> bytes:
    """Slides of a title, a text, and a speaker's note."""
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(("r1", "officeDocument", "ppt/presentation.xml")),
    }
    ids: list[str] = []
    for number, (title, text, note) in enumerate(slides, start=1):
        parts[f"ppt/slides/slide{number}.xml"] = _slide(("body", text), ("title", title))
        parts[f"ppt/slides/_rels/slide{number}.xml.rels"] = relations(("n", "notesSlide", f"../notes/note{number}.xml"))
        parts[f"ppt/notes/note{number}.xml"] = _slide(("body", note), ("sldNum", str(number)))
        # Slides are shown in the order of this list, whatever their parts are called.
        ids.insert(0, f'<p:sldId id="{255 + number}" r:id="r{number}"/>')
    parts["ppt/_rels/presentation.xml.rels"] = relations(
        *((f"r{number}", "slide", f"slides/slide{number}.xml") for number in range(1, len(slides) + 1))
    )
    parts["ppt/presentation.xml"] = (
        f'<p:presentation xmlns:p="{_SLIDES}" xmlns:r="{_OFFICE}"><p:sldIdLst>{"".join(ids)}</p:sldIdLst>'
        "</p:presentation>"
    )
    return zipped(parts)


def _slide(*shapes: tuple[str, str]) -> str:
    tree = "".join(
        f'<p:sp><p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
        f"<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        for kind, text in shapes
    )
    return f'<p:sld xmlns:p="{_SLIDES}" xmlns:a="{_DRAWING}"><p:cSld><p:spTree>{tree}</p:spTree></p:cSld></p:sld>'


def xlsx(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """A workbook of these sheets."""
    workbook = Workbook()
    workbook.remove(workbook.worksheets[0])
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def pdf(pages: Sequence[Sequence[tuple[int, str]]], *, count: int | None = None) -> bytes:
    """Pages of lines: the size of their letters, and the text. `count` is what the file claims to have of pages."""
    streams = []
    for lines in pages:
        shown = "".join(f"/F {size} Tf 0 -{size * 1.2:g} Td ({text}) Tj " for size, text in lines)
        streams.append(f"BT 50 800 Td {shown}ET".encode("latin-1"))
    return pdf_of(streams, count=count)


def encrypted(content: bytes, algorithm: str = "AES-256") -> bytes:
    """A PDF that opens with a password only."""
    writer, buffer = PdfWriter(clone_from=PdfReader(io.BytesIO(content))), io.BytesIO()
    writer.encrypt("swordfish", algorithm=algorithm)
    writer.write(buffer)
    return buffer.getvalue()


def pdf_of(streams: Sequence[bytes], *, count: int | None = None) -> bytes:
    """Pages that draw what these streams say."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(streams)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(streams) if count is None else count}/Kids[{kids}]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, stream in enumerate(streams):
        data = zlib.compress(stream, 9)
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 900]/Contents {5 + 2 * number} 0 R"
        objects.append(f"{page}/Resources<</Font<</F 3 0 R>>>>>>".encode())
        objects.append(b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(data), data))
    out = io.BytesIO(b"%PDF-1.7\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))
    return out.getvalue()
