"""Page tokens: opaque, bound to their query, and never an error of ours."""

import base64
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.kernel.errors import PageTokenInvalid
from services.kernel.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, KeyPart, Pager

PAGER = Pager(b"k" * 32)
PARTS: st.SearchStrategy[KeyPart] = st.one_of(
    st.none(),
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)),
)
KEYS = st.lists(PARTS, min_size=1, max_size=4)
QUERIES = st.lists(st.text(), max_size=4)


def _token(key: list[KeyPart], query: list[str]) -> str:
    return PAGER.next_token(PAGER.page("", 0, *query), key)


class TestPager:
    @given(KEYS, QUERIES)
    def test_a_token_leads_back_to_its_key(self, key: list[KeyPart], query: list[str]) -> None:
        after = PAGER.page(_token(key, query), 10, *query).after
        assert after == tuple(key)
        assert [type(part) for part in after] == [type(part) for part in key]

    @given(KEYS, QUERIES, QUERIES)
    def test_a_token_is_good_for_its_query_only(self, key: list[KeyPart], query: list[str], other: list[str]) -> None:
        assume(query != other)
        with pytest.raises(PageTokenInvalid):
            PAGER.page(_token(key, query), 10, *other)

    @given(KEYS, QUERIES, st.data())
    def test_no_bit_of_a_token_can_be_changed(self, key: list[KeyPart], query: list[str], data: st.DataObject) -> None:
        token = _token(key, query)
        raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        bit = data.draw(st.integers(0, len(raw) * 8 - 1))
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PageTokenInvalid):
            PAGER.page(base64.urlsafe_b64encode(raw).decode().rstrip("="), 10, *query)

    @given(st.text(min_size=1))
    def test_nothing_made_up_passes_or_breaks_it(self, token: str) -> None:
        with pytest.raises(PageTokenInvalid):
            PAGER.page(token, 10, "ListMembers")

    def test_a_token_of_another_key_is_refused(self) -> None:
        token = Pager(b"other" * 7).next_token(PAGER.page("", 0, "q"), ["a"])
        with pytest.raises(PageTokenInvalid) as raised:
            PAGER.page(token, 0, "q")
        assert [violation.field for violation in raised.value.violations] == ["page_token"]

    def test_filters_cannot_run_into_each_other(self) -> None:
        with pytest.raises(PageTokenInvalid):
            PAGER.page(_token(["k"], ["ab", "c"]), 0, "a", "bc")

    @pytest.mark.parametrize(
        ("asked", "given"),
        [(0, DEFAULT_PAGE_SIZE), (-1, DEFAULT_PAGE_SIZE), (1, 1), (500, 500), (501, MAX_PAGE_SIZE)],
    )
    def test_coerces_the_size(self, asked: int, given: int) -> None:
        assert PAGER.page("", asked).size == given

    def test_keeps_microseconds(self) -> None:
        moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
        assert PAGER.page(_token([moment], []), 0).after == (moment,)

    @given(st.lists(st.integers(0, 1000), unique=True), st.integers(1, 5))
    def test_pages_cut_one_after_another_are_the_whole(self, numbers: list[int], size: int) -> None:
        rows = sorted(numbers)
        seen: list[int] = []
        token = ""
        while True:
            page = PAGER.page(token, size, "q")
            last = -1 if page.after is None else page.after[0]
            assert isinstance(last, int)
            shown, token = PAGER.cut(page, [row for row in rows if row > last][: page.count], lambda row: (row,))
            assert len(shown) <= size
            seen += shown
            if not token:
                break
        assert seen == rows


class TestPage:
    def test_its_key_is_an_id(self) -> None:
        assert PAGER.page("", 0).after_id() is None
        assert PAGER.page(_token([UUID(int=7)], []), 0).after_id() == UUID(int=7)

    @pytest.mark.parametrize("key", [["text"], [UUID(int=7), 1], [1]])
    def test_another_kind_of_key_is_no_id(self, key: list[KeyPart]) -> None:
        with pytest.raises(PageTokenInvalid):
            PAGER.page(_token(key, []), 0).after_id()
