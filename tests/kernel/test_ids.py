"""Ids, etags and resource names."""

import sys
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import EtagMismatch, EtagRequired, NameInvalid
from services.kernel.etags import check_etag, etag_of
from services.kernel.ids import new_id
from services.kernel.names import ResourceName
from tests.support.acting import at_once

MEMBER = ResourceName("workspaces/{workspace}/members/{member}")
ROLE = ResourceName("workspaces/{workspace}/roles/{role}", words=frozenset({"role"}))


class TestNewId:
    def test_is_a_uuid_of_version_7_that_tells_the_time(self) -> None:
        before = time.time_ns() // 1_000_000
        minted = new_id()
        after = time.time_ns() // 1_000_000
        assert minted.version == 7
        assert minted.variant == "specified in RFC 4122"
        # It may run ahead by the ids that were minted within the last tick.
        assert before <= minted.int >> 80 <= after + 1

    def test_grows_within_each_of_many_threads_and_never_repeats(self) -> None:
        minted = at_once(8, lambda: [new_id() for _ in range(2000)])
        assert all(ids == sorted(ids) for ids in minted)
        assert len({one for ids in minted for one in ids}) == 16_000

    def test_no_two_threads_are_given_the_same_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            minted = at_once(8, lambda: [new_id() for _ in range(2000)])
        finally:
            sys.setswitchinterval(interval)
        assert len({one.time_hi_version << 64 | one.int >> 80 for ids in minted for one in ids}) == 16_000

    def test_grows_across_threads_by_the_order_of_minting(self) -> None:
        first = new_id()
        later = at_once(4, new_id)
        assert first < min(later)
        assert max(later) < new_id()

    def test_never_goes_back_with_the_machines_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = new_id()
        monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
        assert new_id() > before


class TestEtags:
    @given(st.integers(0, 2**31), st.integers(0, 2**31))
    def test_passes_only_who_read_this_very_version(self, read: int, now: int) -> None:
        if read == now:
            check_etag(etag_of(read), now, "x")
        else:
            with pytest.raises(EtagMismatch):
                check_etag(etag_of(read), now, "x")

    def test_is_required_and_says_of_what(self) -> None:
        with pytest.raises(EtagRequired) as raised:
            check_etag("", 1, "workspaces/w")
        assert raised.value.metadata == {"resource": "workspaces/w"}
        assert [violation.field for violation in raised.value.violations] == ["etag"]


class TestResourceName:
    @given(st.uuids(), st.uuids())
    def test_comes_back_as_it_was_formatted(self, workspace: UUID, member: UUID) -> None:
        assert MEMBER.ids(MEMBER.format(workspace=workspace, member=member)) == (workspace, member)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "workspaces/1/members/2",
            f"workspaces/{UUID(int=1)}/members/",
            f"workspaces/{UUID(int=1)}/members/{UUID(int=2)}/",
            f"/workspaces/{UUID(int=1)}/members/{UUID(int=2)}",
            f"workspaces/{UUID(int=1)}/members/{UUID(int=2)}\n",
            f"workspaces/{str(UUID(int=0xA)).upper()}/members/{UUID(int=2)}",
            f"workspaces/{UUID(int=1).hex}/members/{UUID(int=2)}",
            f"workspaces/../members/{UUID(int=2)}",
        ],
    )
    def test_refuses_every_other_spelling_and_blames_the_field(self, name: str) -> None:
        with pytest.raises(NameInvalid) as raised:
            MEMBER.parse(name, field="member.name")
        assert raised.value.metadata == {"field": "member.name"}

    @given(st.text())
    def test_never_fails_otherwise(self, text: str) -> None:
        with pytest.raises(NameInvalid):
            MEMBER.parse(text)

    def test_takes_words_where_they_are_stated_only(self) -> None:
        name = ROLE.format(workspace=UUID(int=1), role="owner")
        assert ROLE.parse(name) == {"workspace": str(UUID(int=1)), "role": "owner"}
        with pytest.raises(NameInvalid):
            ROLE.parse(f"workspaces/{UUID(int=1)}/roles/an owner")
