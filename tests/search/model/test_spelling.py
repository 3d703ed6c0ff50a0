from services.search.model.spelling import correctable, lengths_near, nearest

VOCABULARY = [
    ("contract", 40),
    ("contrast", 3),
    ("contact", 90),
    ("invoice", 12),
    ("invoices", 7),
    ("cat", 5),
    ("car", 9),
]


class TestCorrectable:
    def test_says_of_which_words_it_can_be_told(self) -> None:
        assert correctable("cat")
        assert not correctable("東京")
        assert not correctable("ab123")

    def test_all_that_may_be_meant_are_of_these_lengths(self) -> None:
        assert list(lengths_near("cat")) == [2, 3, 4]
        assert list(lengths_near("contracts")) == [7, 8, 9, 10, 11]


class TestNearest:
    def test_the_fewest_slips_win_then_what_is_there_more_often(self) -> None:
        assert nearest("invoicce", VOCABULARY) == "invoice"
        assert nearest("contracr", VOCABULARY) == "contract"
        assert nearest("contracr", VOCABULARY[1:]) == "contact"

    def test_swapped_letters_are_one_slip(self) -> None:
        assert nearest("invocie", VOCABULARY) == "invoice"

    def test_the_first_letter_is_seldom_wrong(self) -> None:
        assert nearest("bat", [("cat", 50), ("bar", 2)]) == "bar"

    def test_short_words_forgive_one_slip_and_shorter_ones_none(self) -> None:
        assert nearest("cta", VOCABULARY) == "cat"
        assert nearest("tca", VOCABULARY) is None
        assert nearest("ca", VOCABULARY) is None

    def test_a_number_is_meant_as_it_is(self) -> None:
        assert nearest("1234", [("1235", 9)]) is None
        assert nearest("ab123", [("ab124", 9)]) is None

    def test_the_word_itself_is_no_correction(self) -> None:
        assert nearest("invoice", VOCABULARY) == "invoices"

    def test_nothing_is_near_in_an_empty_vocabulary(self) -> None:
        assert nearest("contract", []) is None
