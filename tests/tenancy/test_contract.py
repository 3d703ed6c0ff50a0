"""The contract of tenancy against its errors and its page for users."""

from pathlib import Path

import pytest

from plinth.errors.v1 import error_reason_pb2
from services.kernel.errors import EmailNotVerified, PlinthError, SessionRequired
from services.tenancy import errors

DOCS = Path(__file__).parents[2] / "docs" / "tenancy.md"
REASONS = sorted(
    name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if 200 <= number < 300
)
# Its own, and those that it has in common with identity.
CLASSES: list[type[PlinthError]] = [
    SessionRequired,
    EmailNotVerified,
    *(
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, PlinthError) and value.__module__ == errors.__name__
    ),
]


class TestErrors:
    @pytest.mark.parametrize("reason", REASONS)
    def test_every_reason_is_raised_by_one_class(self, reason: str) -> None:
        assert len([cls for cls in CLASSES if cls.reason == reason]) == 1

    @pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
    def test_the_page_for_users_lists_it_with_its_status(self, cls: type[PlinthError]) -> None:
        assert f"| `{cls.reason}` | {cls.code.name} |" in DOCS.read_text()
