"""Chunks: that they hold the whole text, stand where they say, follow its structure, and last when others change."""

import itertools
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.documents.model.chunking import (
    CHUNK_TOKENS,
    OVERLAP_TOKENS,
    TABLE_TOKENS,
    Chunk,
    chunk,
    count_tokens,
)
from services.documents.model.parsed import BlockKind, Draft, Parsed

DOCUMENT = UUID(int=7)
WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heath"),
    *("iris", "jade", "knoll", "lotus", "maple", "north", "ocean", "pearl"),
)

words = st.lists(st.sampled_from([*WORDS, "東京都", "x" * 90, "..", "e.g."]), min_size=1, max_size=90).map(" ".join)
sentences = st.lists(words, min_size=1, max_size=6).map(lambda parts: ". ".join(parts) + ".")
rows = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" | ".join), min_size=1, max_size=80)
drafts = st.one_of(
    st.builds(Draft, st.just(BlockKind.HEADING), words, st.integers(1, 6)),
    st.builds(Draft, st.just(BlockKind.PARAGRAPH), sentences, st.just(0), st.integers(1, 9)),
    st.builds(Draft, st.sampled_from([BlockKind.TABLE, BlockKind.LIST, BlockKind.CODE]), rows.map("\n".join)),
    st.builds(Draft, st.just(BlockKind.PARAGRAPH), st.text("ab .\n。！東", min_size=1).filter(str.strip)),
)
documents = st.lists(drafts, max_size=12)


def parsed(blocks: Sequence[Draft]) -> Parsed:
    """A document of these blocks."""
    return Parsed.of(blocks)


def chunks_of(blocks: Sequence[Draft]) -> list[Chunk]:
    """The chunks of a document of these blocks."""
    return chunk(parsed(blocks), DOCUMENT)


def heading(text: str, level: int = 1) -> Draft:
    """A heading."""
    return Draft(BlockKind.HEADING, text, level)


def paragraph(text: str, page: int | None = None) -> Draft:
    """A paragraph."""
    return Draft(BlockKind.PARAGRAPH, text, page=page)


def prose(number: int) -> Draft:
    """A paragraph that is like no other, of some sixty words."""
    sentences = (f"Sentence {n} of {number} is about {WORDS[(number * n) % 16]}{number}." for n in range(9))
    return paragraph(" ".join(sentences))


class TestAnyDocument:
    @given(documents)
    def test_every_character_is_in_a_chunk(self, blocks: list[Draft]) -> None:
        text = parsed(blocks).text
        covered = {place for one in chunks_of(blocks) for place in range(one.start, one.end)}
        assert all(place in covered for place, character in enumerate(text) if not character.isspace())

    @given(documents)
    def test_the_text_of_a_chunk_stands_where_it_says(self, blocks: list[Draft]) -> None:
        text = parsed(blocks).text
        for one in chunks_of(blocks):
            stands = text[one.start : one.end]
            assert stands.strip()
            assert one.text == stands or (one.text.endswith("\n" + stands) and "\n" not in one.text[: -len(stands) - 1])

    @given(documents)
    def test_no_chunk_is_larger_than_it_may_be(self, blocks: list[Draft]) -> None:
        assert all(count_tokens(one.text) <= TABLE_TOKENS + 60 for one in chunks_of(blocks))

    @given(documents)
    def test_chunks_come_in_order_with_ids_of_their_own(self, blocks: list[Draft]) -> None:
        chunks = chunks_of(blocks)
        assert [one.ordinal for one in chunks] == list(range(len(chunks)))
        assert len({one.chunk_id for one in chunks}) == len(chunks)
        assert [one.end for one in chunks] == sorted(one.end for one in chunks)

    @given(documents)
    def test_the_same_document_gives_the_same_chunks(self, blocks: list[Draft]) -> None:
        assert chunks_of(blocks) == chunks_of(blocks)

    @given(documents, drafts)
    def test_a_new_section_at_the_end_leaves_the_ids_of_the_others(self, blocks: list[Draft], last: Draft) -> None:
        before = chunks_of(blocks)
        after = chunks_of([*blocks, heading("A section that was not there"), last])
        # A heading without a text of its own would have been joined to the new one.
        kept = before if blocks and blocks[-1].kind is not BlockKind.HEADING else []
        assert {one.chunk_id for one in kept} <= {one.chunk_id for one in after}


class TestChange:
    @given(st.integers(20, 60).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1))), words)
    def test_a_changed_paragraph_changes_its_neighbours_alone(self, where: tuple[int, int], new: str) -> None:
        count, changed = where
        old = [prose(number) for number in range(count)]
        before, after = chunks_of(old), chunks_of([*old[:changed], paragraph(new), *old[changed + 1 :]])
        gone = {one.chunk_id for one in before} - {one.chunk_id for one in after}
        # It is in one chunk or two, and moves the cuts as far as the window reaches on either side.
        assert 1 <= len(gone) <= 10

    def test_a_row_added_to_a_long_table_leaves_most_of_its_chunks(self) -> None:
        table = [f"row {n} | {WORDS[n % 16]} | {n * 37 % 101}" for n in range(400)]
        before = chunks_of([Draft(BlockKind.TABLE, "\n".join(["number | tree | value", *table]))])
        longer = ["number | tree | value", *table[:100], "a new row | of | its own", *table[100:]]
        after = chunks_of([Draft(BlockKind.TABLE, "\n".join(longer))])
        assert len({one.chunk_id for one in before} & {one.chunk_id for one in after}) > len(before) * 0.7


class TestStructure:
    def test_a_heading_starts_a_chunk_and_leads_to_those_below(self) -> None:
        chunks = chunks_of(
            [
                heading("Manual"),
                paragraph("First of all."),
                heading("Setup", 2),
                paragraph("Switch it on."),
                heading("Use", 2),
                heading("Every day", 3),
                paragraph("Press the button."),
                heading("Annex"),
                paragraph("Nothing else."),
            ]
        )
        assert [(one.headings, one.text) for one in chunks] == [
            (("Manual",), "Manual\n\nFirst of all."),
            (("Manual", "Setup"), "Setup\n\nSwitch it on."),
            (("Manual", "Use", "Every day"), "Use\n\nEvery day\n\nPress the button."),
            (("Annex",), "Annex\n\nNothing else."),
        ]

    def test_short_paragraphs_are_joined(self) -> None:
        assert len(chunks_of([paragraph(f"Short and number {n}.") for n in range(20)])) == 1

    def test_long_sections_are_cut_between_paragraphs_and_repeat_a_little(self) -> None:
        chunks = chunks_of([prose(n) for n in range(40)])
        assert len(chunks) > 10
        for before, after in itertools.pairwise(chunks):
            repeated = before.text[-(before.end - after.start) :] if after.start < before.end else ""
            assert 1 <= count_tokens(repeated) <= OVERLAP_TOKENS
            assert after.text.startswith(repeated)
            assert after.text.startswith("Sentence")
        assert all(count_tokens(one.text) <= CHUNK_TOKENS for one in chunks)

    def test_nothing_is_repeated_across_headings(self) -> None:
        chunks = chunks_of([heading("One"), *(prose(n) for n in range(9)), heading("Two"), prose(10)])
        second = next(one for one in chunks if one.headings == ("Two",))
        assert second.text.startswith("Two")

    def test_a_paragraph_that_is_too_long_is_cut_between_sentences(self) -> None:
        chunks = chunks_of([paragraph(" ".join(prose(n).text for n in range(12)))])
        assert len(chunks) > 3
        assert all(one.text.startswith("Sentence") and one.text.endswith(".") for one in chunks)

    def test_a_text_without_any_sentence_is_cut_all_the_same(self) -> None:
        chunks = chunks_of([paragraph("word " * 5000), paragraph("x" * 50_000), paragraph("- " * 20_000)])
        assert all(count_tokens(one.text) <= CHUNK_TOKENS for one in chunks)

    def test_a_table_stays_whole(self) -> None:
        table = "\n".join(f"{n} | {WORDS[n % 16]} | {n * n}" for n in range(120))
        chunks = chunks_of([heading("Trees"), paragraph("Here they are."), Draft(BlockKind.TABLE, table)])
        assert chunks[-1].text == table

    def test_a_long_table_is_cut_by_rows_under_its_header(self) -> None:
        table = "\n".join(["number | tree", *(f"{n} | {WORDS[n % 16]}" for n in range(1000))])
        chunks = chunks_of([Draft(BlockKind.TABLE, table)])
        assert all(one.text.startswith("number | tree\n") for one in chunks)
        rows = [row for one in chunks for row in one.text.split("\n")[1:]]
        assert rows == table.split("\n")[1:]

    def test_a_chunk_is_on_the_page_where_it_starts(self) -> None:
        chunks = chunks_of([Draft(BlockKind.PARAGRAPH, prose(n).text, page=n + 1) for n in range(30)])
        text = parsed([prose(n) for n in range(30)]).text
        for one in chunks:
            assert one.page == text[: one.start + 1].count("\n\n") + 1

    def test_characters_of_chinese_and_japanese_count_one_by_one(self) -> None:
        assert count_tokens("東京都 and Kyoto") == 5
        assert all(
            count_tokens(one.text) <= CHUNK_TOKENS for one in chunks_of([paragraph("これは長い文章です。" * 300)])
        )

    def test_an_empty_document_has_no_chunks(self) -> None:
        assert chunks_of([]) == []

    def test_equal_passages_have_ids_of_their_own(self) -> None:
        blocks = [heading("Same"), paragraph("Same text."), heading("Same"), paragraph("Same text.")]
        assert len({one.chunk_id for one in chunks_of(blocks)}) == 2


def test_a_long_text_is_given_up_as_soon_as_somebody_says_so() -> None:
    class Enough(Exception):
        pass

    asked = itertools.count(1)

    def check() -> None:
        if next(asked) == 3:
            raise Enough

    # One sentence, without any place to stop.
    with pytest.raises(Enough):
        chunk(parsed([paragraph("words " * 20_000)]), DOCUMENT, check)
