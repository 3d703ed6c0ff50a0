"""Which language a document is in, and which parts of it are in another one."""

from uuid import UUID

from services.documents.model.chunking import chunk
from services.documents.model.parsed import BlockKind, Draft, Parsed
from services.documents.parsing.language import detect, in_languages

GERMAN = "Der Mieter zahlt die Miete am ersten Tag eines jeden Monats und hält alle Räume in gutem Zustand. " * 4
ENGLISH = "The tenant shall pay the rent on the first day of each month and keep the premises in good repair. " * 4


def paragraph(text: str) -> Draft:
    return Draft(BlockKind.PARAGRAPH, text)


def heading(text: str) -> Draft:
    return Draft(BlockKind.HEADING, text, 1)


def languages(drafts: list[Draft]) -> list[str]:
    return [draft.language for draft in in_languages(drafts, detect(drafts))]


class TestInLanguages:
    def test_marks_an_annex_in_another_language(self) -> None:
        lease = [heading("Mietvertrag"), *[paragraph(GERMAN)] * 5, heading("Annex"), paragraph(ENGLISH)]
        assert detect(lease) == "de"
        assert languages(lease) == [*[""] * 6, "en", "en"]

    def test_marks_it_without_headings_too(self) -> None:
        lease = [*[paragraph(GERMAN)] * 8, *[paragraph(ENGLISH)] * 4]
        assert languages(lease)[:8] == [""] * 8
        assert languages(lease)[-1] == "en"

    def test_takes_what_is_short_or_no_running_text_for_the_rest(self) -> None:
        table = Draft(BlockKind.TABLE, ENGLISH)
        lease = [*[paragraph(GERMAN)] * 4, heading("Annex"), paragraph("The premises."), heading("Table"), table]
        assert languages(lease) == [""] * 8

    def test_is_told_of_each_chunk(self) -> None:
        drafts = [heading("Mietvertrag"), paragraph(GERMAN), heading("Annex"), paragraph(ENGLISH)]
        chunks = chunk(Parsed.of(in_languages(drafts, "de"), language="de"), UUID(int=1))
        assert [one.language for one in chunks] == ["", "en"]
