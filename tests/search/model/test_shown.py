import random

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.paging import Pager
from services.search.model.hits import MAX_HITS
from services.search.model.shown import pack, unpack

# As the contract has it.
LONGEST_TOKEN = 8192


class TestShown:
    @given(st.frozensets(st.integers(0, 2**31 - 1), max_size=40))
    def test_numbers_come_back(self, numbers: frozenset[int]) -> None:
        assert unpack(pack(numbers)) == numbers

    def test_as_many_as_can_be_paged_through_fit_a_token(self) -> None:
        numbers = random.Random(1).sample(range(2**31), MAX_HITS)
        pager = Pager(b"key")
        token = pager.next_token(pager.page("", 10, "Search"), [pack(numbers)])
        assert len(token) <= LONGEST_TOKEN
        assert unpack(str(pager.page(token, 10, "Search").after[0])) == frozenset(numbers)  # type: ignore[index]
