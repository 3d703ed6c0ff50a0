"""Moments and masks, in and out of messages."""

from datetime import UTC, datetime

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from plinth.identity.v1 import api_key_pb2
from services.kernel.errors import FieldsInvalid
from services.kernel.wire import in_mask, masked_text, optional_time, timestamp


class TestTime:
    @given(st.datetimes(timezones=st.just(UTC)))
    def test_a_moment_comes_back(self, moment: datetime) -> None:
        assert optional_time(api_key_pb2.ApiKey(expire_time=timestamp(moment)), "expire_time") == moment

    def test_no_moment_leaves_the_field_unset(self) -> None:
        assert timestamp(None) is None
        assert optional_time(api_key_pb2.ApiKey(expire_time=None), "expire_time") is None

    @pytest.mark.parametrize("stamp", [Timestamp(seconds=2**62), Timestamp(seconds=0, nanos=-1)])
    def test_what_is_no_moment_is_blamed_on_its_path(self, stamp: Timestamp) -> None:
        with pytest.raises(FieldsInvalid) as raised:
            optional_time(api_key_pb2.ApiKey(expire_time=stamp), "expire_time", inside="api_key.")
        assert [violation.field for violation in raised.value.violations] == ["api_key.expire_time"]


class TestMask:
    @pytest.mark.parametrize(
        ("paths", "text", "wanted"),
        [
            ([], "CI", "CI"),
            ([], "", None),
            (["display_name"], "", ""),
            (["*"], "CI", "CI"),
            (["permissions"], "CI", None),
        ],
    )
    def test_a_text_changes_as_the_mask_says(self, paths: list[str], text: str, wanted: str | None) -> None:
        assert masked_text(api_key_pb2.ApiKey(display_name=text), FieldMask(paths=paths), "display_name") == wanted

    def test_without_a_mask_what_is_set_changes(self) -> None:
        assert in_mask(FieldMask(), "permissions", populated=True)
        assert not in_mask(FieldMask(), "permissions", populated=False)
