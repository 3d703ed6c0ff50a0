"""What a passage is found by."""

from services.search.model.passages import Readable


class TestReadable:
    def test_counts_a_heading_once_that_stands_in_the_text(self) -> None:
        first = Readable(("Lease", "Rent"), "Rent\n\nIt is due in May.", "en")
        later = Readable(("Lease", "Rent"), "The rent rises.", "en")
        assert first.whole == "Lease\nRent\n\nIt is due in May."
        assert (first.terms()["rent"], later.terms()["rent"]) == (1, 2)

    def test_knows_a_long_heading_by_its_beginning(self) -> None:
        heading = "word " * 60
        assert Readable((heading[:200],), f"{heading}\n\nText.", "en").terms()["word"] == 60
