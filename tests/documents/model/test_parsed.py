"""The artefact of parsing: stored, and read again, trusting nothing."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.documents.model.parsed import BlockKind, Draft, NotParsed, Parsed

drafts = st.builds(
    Draft,
    st.sampled_from(BlockKind),
    st.text(min_size=1),
    st.integers(0, 6),
    st.one_of(st.none(), st.integers(1, 99)),
    st.sampled_from(["", "de"]),
)
documents = st.builds(
    Parsed.of,
    st.lists(drafts),
    language=st.sampled_from(["", "en"]),
    page_count=st.integers(0, 99),
    warnings=st.lists(st.text()),
)
GOOD = orjson.loads(Parsed.of([Draft(BlockKind.PARAGRAPH, "text")]).to_json())


@given(documents)
def test_what_is_stored_is_read_again_as_it_was(document: Parsed) -> None:
    assert Parsed.from_json(document.to_json()) == document


@given(documents)
def test_blocks_stand_in_the_text_where_they_say(document: Parsed) -> None:
    assert all(document.text[block.start : block.end] == block.text for block in document.blocks)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"language": None},
        {"page_count": -1},
        {"page_count": "3"},
        {"blocks": None},
        {"warnings": [1]},
        {"blocks": [["verse", 0, None, "text", ""]]},
        {"blocks": [["paragraph", 0, 0, "text", ""]]},
        {"blocks": [["paragraph", 0, None, "", ""]]},
        {"blocks": [["paragraph", 0, None, "text"]]},
        {"blocks": ["text"]},
    ],
)
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(NotParsed):
        Parsed.from_json(orjson.dumps(GOOD | change))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(NotParsed):
        Parsed.from_json(data)
