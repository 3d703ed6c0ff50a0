"""What is let through to a parser, and what a parser reads."""

from services.documents.model import media_types
from services.documents.parsing.formats import FORMATS


def test_whatever_is_let_through_has_a_format_and_the_other_way() -> None:
    assert {one.media_type for one in FORMATS} == media_types.READABLE
