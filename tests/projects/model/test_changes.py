"""How events tell of changes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.projects.model.changes import FieldChange, changes_of, in_words

ALICE = UUID("01992f00-0000-7000-8000-00000000000a")


@dataclass(frozen=True)
class Thing:
    title: str
    assignee_id: UUID | None = None
    labels: tuple[str, ...] = ()
    due_time: datetime | None = None


class TestInWords:
    def test_a_moment_is_told_in_utc(self) -> None:
        moment = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
        assert in_words(moment) == "2026-03-01T10:00:00Z"

    def test_a_user_by_name(self) -> None:
        assert in_words(ALICE) == f"users/{ALICE}"

    def test_nothing_as_nothing(self) -> None:
        assert in_words(None) == in_words("") == in_words(()) == ""

    def test_lists_and_truths(self) -> None:
        assert in_words(("a", "b")) == "a, b"
        assert in_words(True) == "true"
        assert in_words(3) == "3"

    @given(st.text())
    def test_a_long_text_is_cut_and_says_so(self, text: str) -> None:
        told = in_words(text)
        assert len(told) <= 200
        assert told == text or (told[-1] == "…" and text.startswith(told[:-1]))


class TestChangesOf:
    def test_tells_what_differs_and_no_more(self) -> None:
        due = datetime(2026, 3, 1, tzinfo=UTC)
        before, after = Thing("A", None, ("x",), due), Thing("A", ALICE, ("x", "y"), None)
        assert changes_of(before, after, ("title", "assignee_id", "labels", "due_time")) == [
            FieldChange("assignee", "", f"users/{ALICE}"),
            FieldChange("labels", "x", "x, y"),
            FieldChange("due_time", "2026-03-01T00:00:00Z", ""),
        ]
