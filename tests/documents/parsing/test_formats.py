"""What is read out of files of each kind, and where it is said to stand."""

import io

import pytest
from pypdf import PdfReader, PdfWriter

from services.documents.model import media_types
from services.documents.model.parsed import BlockKind, Parsed
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.formats import FORMATS
from services.documents.parsing.limits import Limits
from tests.documents.parsing import files
from tests.documents.parsing.conftest import Parse

HEADING, PARAGRAPH, TABLE, LIST, CODE = (
    *(BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.TABLE),
    *(BlockKind.LIST, BlockKind.CODE),
)
STYLES = (
    '<w:styles xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    '<w:style w:styleId="h2"><w:name w:val="heading 2"/></w:style>'
    '<w:style w:styleId="own"><w:name w:val="Chapter"/><w:basedOn w:val="h2"/></w:style></w:styles>'
)


def told(document: Parsed) -> list[tuple[BlockKind, str]]:
    """The kinds and the texts of a document's blocks."""
    return [(block.kind, block.text) for block in document.blocks]


def places(document: Parsed) -> list[tuple[int, int | None]]:
    """The levels and the pages of a document's blocks."""
    return [(block.level, block.page) for block in document.blocks]


def test_every_type_that_is_called_readable_has_a_format() -> None:
    assert {one.media_type for one in FORMATS} == media_types.READABLE


class TestPdf:
    BODY = "Ordinary words of the body, in ordinary letters, fill most of the page"

    def test_pages_and_headings_are_kept(self, parse: Parse) -> None:
        document = parse(
            files.pdf(
                [
                    [
                        (24, "The whole report"),
                        (10, self.BODY),
                        (10, "and its next line."),
                        (16, "Costs"),
                        (10, self.BODY),
                    ],
                    [(10, self.BODY), (10, "ends here.")],
                ]
            )
        )
        assert told(document) == [
            (HEADING, "The whole report"),
            (PARAGRAPH, f"{self.BODY}\nand its next line."),
            (HEADING, "Costs"),
            (PARAGRAPH, self.BODY),
            (PARAGRAPH, f"{self.BODY}\nends here."),
        ]
        assert places(document) == [(1, 1), (0, 1), (2, 1), (0, 1), (0, 2)]
        assert (document.page_count, document.language) == (2, "en")

    @pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
    def test_a_password_is_a_reason(self, parse: Parse, algorithm: str) -> None:
        with pytest.raises(ParseFailed) as failed:
            parse(files.encrypted(files.pdf([[(10, "text")]]), algorithm))
        assert failed.value.reason is Reason.ENCRYPTED

    def test_a_password_that_only_forbids_changes_is_none(self, parse: Parse) -> None:
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(files.pdf([[(10, "open to all")]]))))
        writer.encrypt("", "owner", algorithm="AES-256")
        assert told(parse(written(writer))) == [(PARAGRAPH, "open to all")]


class TestWord:
    def test_headings_lists_tables_and_formulas(self, parse: Parse) -> None:
        row = "<w:tr><w:tc>{}</w:tc><w:tc>{}</w:tc></w:tr>"
        formula = "<w:p><w:f><w:num><w:t>a</w:t></w:num><w:den><w:t>b</w:t></w:den></w:f></w:p>"
        document = parse(
            files.docx(
                files.paragraph("Chapter", '<w:pStyle w:val="own"/>')
                + files.paragraph("Outlined", '<w:outlineLvl w:val="0"/>')
                + "".join(files.paragraph(text, "<w:numPr/>") for text in ("one", "two"))
                + "<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
                + f"<w:tbl>{row.format(*map(files.paragraph, 'ab'))}{row.format(*map(files.paragraph, 'cd'))}</w:tbl>"
                + formula,
                parts={"word/styles.xml": STYLES},
                related=files.relations(("s", "styles", "styles.xml")),
            )
        )
        assert told(document) == [
            (HEADING, "Chapter"),
            (HEADING, "Outlined"),
            (LIST, "- one\n- two"),
            (PARAGRAPH, "kept"),
            (TABLE, "a | b\nc | d"),
            (PARAGRAPH, "a/b"),
        ]
        assert [block.level for block in document.blocks[:2]] == [2, 1]

    def test_pages_are_those_that_word_has_marked(self, parse: Parse) -> None:
        mark = "<w:p><w:r><w:lastRenderedPageBreak/><w:t>second</w:t></w:r></w:p>"
        document = parse(files.docx(files.paragraph("first") + mark + files.paragraph("still second")))
        assert [(block.text, block.page) for block in document.blocks] == [
            ("first", 1),
            ("second", 2),
            ("still second", 2),
        ]

    def test_a_password_is_a_reason_and_an_old_format_is_another(self, parse: Parse) -> None:
        ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
        for data, reason in (
            (ole + "EncryptedPackage".encode("utf-16-le"), Reason.ENCRYPTED),
            (ole + "WordDocument".encode("utf-16-le"), Reason.UNSUPPORTED),
        ):
            with pytest.raises(ParseFailed) as failed:
                parse(data, "report.docx")
            assert failed.value.reason is reason


class TestSlides:
    def test_slides_come_as_they_are_shown_title_first_with_notes(self, parse: Parse) -> None:
        document = parse(files.pptx([("Last", "second text", "say goodbye"), ("First", "first text", "say hello")]))
        assert told(document) == [
            (HEADING, "First"),
            (PARAGRAPH, "first text"),
            (PARAGRAPH, "say hello"),
            (HEADING, "Last"),
            (PARAGRAPH, "second text"),
            (PARAGRAPH, "say goodbye"),
        ]
        assert [block.page for block in document.blocks] == [1, 1, 1, 2, 2, 2]


class TestSheets:
    def test_each_sheet_is_a_table_under_its_name(self, parse: Parse) -> None:
        document = parse(
            files.xlsx({"People": [["name", "age"], ["Ann", 30], [None, None], ["Bob", 2.5]], "Empty": []})
        )
        assert told(document) == [
            (HEADING, "People"),
            (TABLE, "name | age\nAnn | 30\nBob | 2.5"),
            (HEADING, "Empty"),
        ]
        assert [block.page for block in document.blocks] == [1, 1, 2]

    @pytest.mark.parametrize("data", [b"name;age\nAnn;30\n", b"name,age\nAnn,30\n", b'name\tage\n"Ann"\t30\n'])
    def test_a_table_in_text(self, parse: Parse, data: bytes) -> None:
        assert told(parse(data, "people.csv")) == [(TABLE, "name | age\nAnn | 30")]


class TestHtml:
    def test_what_a_reader_sees(self, parse: Parse) -> None:
        document = parse(
            b"""<!doctype html><html><head><title>The page</title><style>p {}</style></head><body>
            <nav>Home</nav><h1>Top <em>news</em></h1><p>Some <b>bold</b> words,<br>two lines. <script>x()</script></p>
            <ul><li>one</li><li><p>two</p><ul><li>three</li></ul></li></ul>
            <table><caption>Both</caption><tr><th>a</th><th>b</th></tr><tr><td>c<br>d</td><td>e</td></tr></table>
            <div hidden>unseen</div><pre>if x:\n    y()</pre>tail</body></html>"""
        )
        assert told(document) == [
            (HEADING, "Top news"),
            (PARAGRAPH, "Some bold words, two lines."),
            (LIST, "- one\n- two\n- three"),
            (PARAGRAPH, "Both"),
            (TABLE, "a | b\nc d | e"),
            (CODE, "if x:\n    y()"),
            (PARAGRAPH, "tail"),
        ]

    def test_tables_that_lay_out_a_page_are_none(self, parse: Parse) -> None:
        page = b"<html><table><tr><td><h1>Offer</h1><table><tr><td><p>Dear Ann,<p>buy now.</table></table>"
        assert told(parse(page)) == [(HEADING, "Offer"), (PARAGRAPH, "Dear Ann,"), (PARAGRAPH, "buy now.")]

    def test_the_declared_encoding_holds(self, parse: Parse) -> None:
        page = '<html><head><meta charset="windows-1251"></head><body>Привет, мир</body></html>'
        assert told(parse(page.encode("cp1251"))) == [(PARAGRAPH, "Привет, мир")]


class TestMarkdown:
    def test_its_blocks(self, parse: Parse) -> None:
        text = (
            "---\nowner: Ann\n---\n# Top #\n\nTitle below\n===\n\nWords of\na paragraph.\n\n- one\n  goes on\n- two\n\n"
            "| a | b |\n|---|---|\n| c | d\\|e |\n\n> quoted\n\n```py\nif x:\n\n    y()\n```\n***\nend"
        )
        document = parse(text.encode(), "notes.md")
        assert told(document) == [
            (CODE, "owner: Ann"),
            (HEADING, "Top"),
            (HEADING, "Title below"),
            (PARAGRAPH, "Words of\na paragraph."),
            (LIST, "- one goes on\n- two"),
            (TABLE, "a | b\nc | d|e"),
            (PARAGRAPH, "quoted"),
            (CODE, "if x:\n\n    y()"),
            (PARAGRAPH, "end"),
        ]


class TestText:
    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            ("utf-8", "Grüße aus 東京"),
            ("utf-16", "Grüße aus 東京"),
            ("utf-32", "Grüße aus 東京"),
            ("utf-16-le", "Greetings without a mark"),
            ("shift-jis", "これは日本語の文章です。漢字とかなが混ざっています。"),
            ("euc-kr", "한국어 문장의 인코딩을 알아내려면 글자가 충분해야 합니다."),
            ("latin-1", "Schöne Grüße aus Köln und bis später, sagte der Kölner Bürgermeister."),
            ("cp1251", "Съешь же ещё этих мягких французских булок, да выпей чаю."),
            ("gb18030", "中文文本的编码检测需要足够的字符才能可靠地工作。"),
        ],
    )
    def test_in_any_encoding(self, parse: Parse, encoding: str, text: str) -> None:
        assert told(parse(text.encode(encoding))) == [(PARAGRAPH, text)]

    def test_a_damaged_character_does_not_change_the_others(self, parse: Parse) -> None:
        document = parse("Grüße aus Köln und schöne Tage, für Jörg, Käthe, Ömer und Übü".encode() + b"\xff.")
        assert document.text == "Grüße aus Köln und schöne Tage, für Jörg, Käthe, Ömer und Übü\ufffd."
        assert document.warnings == ("Some characters are damaged.",)

    def test_paragraphs_and_pages(self, parse: Parse) -> None:
        document = parse(b"one\r\nline\r\n\r\n\r\ntwo\x0cthree")
        assert [(block.text, block.page) for block in document.blocks] == [("one\nline", 1), ("two", 1), ("three", 2)]

    def test_what_cannot_be_stored_is_left_out(self, parse: Parse) -> None:
        document = parse("<p>a\ufeffb\u200bc&#xad;d&#xFFFE;e\x08f&#8232;g&nbsp;h</p>".encode())
        assert document.text == "abcdef g h"

    def test_a_document_without_text_says_so(self, parse: Parse) -> None:
        document = parse(b" \n ", "empty.txt")
        assert (document.blocks, document.warnings) == ((), ("The document holds no text.",))

    def test_structured_text_stays_one_piece(self, parse: Parse) -> None:
        assert told(parse(b'{"name": "Ann",\n\n "age": 30}')) == [(CODE, '{"name": "Ann",\n\n "age": 30}')]


class TestMail:
    def mail(self, *parts: bytes, kind: bytes = b"mixed") -> bytes:
        """A mail of these parts, each with its own headers."""
        line = b"q%d" % len(b"".join(parts))
        body = b"".join(b"--%s\r\n%s\r\n" % (line, part) for part in parts) + b"--%s--\r\n" % line
        who = b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: b@example.org\r\n"
        what = b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMIME-Version: 1.0\r\n"
        return b"%s%sContent-Type: multipart/%s; boundary=%s\r\n\r\n%s" % (who, what, kind, line, body)

    def attached(self, name: str, data: bytes, kind: str = "application/octet-stream") -> bytes:
        """A file as a part of a mail."""
        head = f'Content-Type: {kind}\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\n'
        return head.encode() + data

    def test_who_wrote_what_to_whom(self, parse: Parse) -> None:
        plain, rich = (
            b"Content-Type: text/plain; charset=latin-1\r\n\r\nSch\xf6n",
            b"Content-Type: text/html\r\n\r\n<p>No",
        )
        document = parse(self.mail(plain, rich, kind=b"alternative"))
        assert told(document) == [
            (HEADING, "Grüße"),
            (PARAGRAPH, "From: Jürgen <j@example.org>\nTo: b@example.org"),
            (PARAGRAPH, "Schön"),
        ]

    def test_attachments_are_read_by_their_own_rules(self, parse: Parse) -> None:
        text = b"Content-Type: text/plain\r\n\r\nSee below."
        inner = self.mail(text, self.attached("deep.csv", b"a,b\nc,d\n"))
        document = parse(
            self.mail(text, self.attached("a.docx", b"nothing"), self.attached("m.eml", inner, "message/rfc822"))
        )
        assert (HEADING, "deep.csv") in told(document)
        assert (TABLE, "a | b\nc | d") in told(document)
        assert told(document).count((PARAGRAPH, "See below.")) == 2

    def test_an_attachment_that_cannot_be_read_is_a_warning(self, parse: Parse) -> None:
        picture = self.attached("logo.png", b"\x89PNG\r\n\x1a\nrest")
        document = parse(self.mail(b"Content-Type: text/plain\r\n\r\nText", picture))
        assert document.warnings == (
            "The attachment logo.png was left out: Files of the type image/png cannot be read.",
        )

    def test_the_name_of_an_attachment_is_told_as_far_as_people_read(self, parse: Parse) -> None:
        table = self.attached("y" * 100_000 + ".csv", b"a,b\nc,d\n")
        picture = self.attached("x" * 100_000, b"\x89PNG\r\n\x1a\nrest")
        document = parse(self.mail(b"Content-Type: text/plain\r\n\r\nText", table, picture))
        # Its end still tells what it is.
        assert (TABLE, "a | b\nc | d") in told(document)
        assert len(document.text) < 1_000
        assert [len(warning) < 300 for warning in document.warnings] == [True]

    def test_mails_in_mails_and_attachments_are_bounded(self, parse: Parse) -> None:
        mail = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: innermost\r\n\r\nText"
        for _ in range(6):
            mail = self.mail(self.attached("m.eml", mail, "message/rfc822"))
        assert "innermost" not in parse(mail, limits=Limits(depth=3)).text
        many = self.mail(*(self.attached(f"{n}.txt", b"file") for n in range(10)))
        document = parse(many, limits=Limits(attachments=4))
        assert [text for _, text in told(document)].count("file") == 4
        assert len(document.warnings) == 6


def written(writer: PdfWriter) -> bytes:
    """The file that a writer makes."""
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()
