"""Server-Sent Events, read back as the standard tells a browser to (WHATWG HTML §9.2.6)."""

import re
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel import sse


@dataclass
class EventSource:
    """What a browser makes of a stream: the messages, each with its name and the last id, and the time to wait."""

    messages: list[tuple[str, str, str]] = field(default_factory=list)
    last_id: str = ""
    wait_milliseconds: int | None = None

    def read(self, stream: bytes) -> "EventSource":
        text = stream.decode()
        # The byte order mark at the start of a stream is passed over.
        text = text.removeprefix("\ufeff")
        data, event, last_id = "", "", self.last_id
        for line in re.split(r"\r\n|\n|\r", text)[:-1]:
            if not line:
                self.last_id = last_id
                if data:
                    self.messages.append((event or "message", data.removesuffix("\n"), self.last_id))
                data, event = "", ""
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "event":
                    event = value
                case "data":
                    data += value + "\n"
                case "id":
                    last_id = last_id if "\0" in value else value
                case "retry":
                    self.wait_milliseconds = int(value) if re.fullmatch("[0-9]+", value) else self.wait_milliseconds
        return self


_TEXT = st.text(st.characters(codec="utf-8"))
_LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))


def as_told(data: str) -> str:
    """Data as the page gets it: each kind of line ending is a line feed."""
    return re.sub(r"\r\n|\r", "\n", data)


class TestFrame:
    @given(st.lists(st.tuples(_LINE, _TEXT, _LINE)))
    def test_whatever_is_put_in_comes_out(self, events: list[tuple[str, str, str]]) -> None:
        stream = b"".join(sse.frame(data, id=id, event=event) for event, data, id in events)
        last_id, expected = "", []
        for event, data, id in events:
            last_id = id or last_id
            expected.append((event or "message", as_told(data), last_id))
        assert EventSource().read(stream).messages == expected

    @pytest.mark.parametrize(
        ("data", "lines"),
        [
            ("one", b"data: one\n\n"),
            ("", b"data: \n\n"),
            ("a\nb", b"data: a\ndata: b\n\n"),
            ("a\r\nb\rc", b"data: a\ndata: b\ndata: c\n\n"),
            ("a\n", b"data: a\ndata: \n\n"),
            (" led by a space", b"data:  led by a space\n\n"),
            ("a\u2028b\x0bc", "data: a\u2028b\x0bc\n\n".encode()),
            ("id: 7\n\nevent: forged", b"data: id: 7\ndata: \ndata: event: forged\n\n"),
        ],
    )
    def test_each_line_is_a_field_of_its_own(self, data: str, lines: bytes) -> None:
        assert sse.frame(data) == lines
        assert EventSource().read(lines).messages == [("message", as_told(data), "")]

    def test_the_id_stays_until_the_next_one(self) -> None:
        stream = sse.frame("a", id="7") + sse.frame("b") + sse.frame("c", id="8")
        assert [last_id for *_, last_id in EventSource().read(stream).messages] == ["7", "7", "8"]

    @pytest.mark.parametrize("id", ["a\0b", "7\nevent: forged", "7\r"])
    def test_an_id_that_a_browser_would_not_take_is_refused(self, id: str) -> None:
        with pytest.raises(ValueError, match="the id of an event"):
            sse.frame("a", id=id)
        with pytest.raises(ValueError, match="the id of an event"):
            sse.cursor(id)

    @pytest.mark.parametrize("event", ["a\nid: 9", "a\r"])
    def test_a_name_is_one_line(self, event: str) -> None:
        with pytest.raises(ValueError, match="the event of an event"):
            sse.frame("a", event=event)


class TestBetweenEvents:
    @given(_TEXT)
    def test_a_comment_says_nothing(self, text: str) -> None:
        heard = EventSource().read(sse.frame("a", id="7") + sse.comment(text) + sse.frame("b"))
        assert heard.messages == [("message", "a", "7"), ("message", "b", "7")]

    def test_a_heartbeat_is_as_short_as_can_be(self) -> None:
        assert sse.comment() == b":\n\n"

    def test_a_cursor_moves_the_id_and_is_no_message(self) -> None:
        heard = EventSource().read(sse.frame("a", id="7") + sse.cursor("12"))
        assert (heard.last_id, heard.messages) == ("12", [("message", "a", "7")])

    @pytest.mark.parametrize(
        ("delay", "milliseconds"), [(timedelta(0), 0), (timedelta(seconds=2), 2000), (timedelta(microseconds=1999), 1)]
    )
    def test_the_time_to_wait_is_told_in_milliseconds(self, delay: timedelta, milliseconds: int) -> None:
        assert EventSource().read(sse.retry(delay)).wait_milliseconds == milliseconds

    def test_nobody_waits_less_than_nothing(self) -> None:
        with pytest.raises(ValueError, match="negative"):
            sse.retry(timedelta(seconds=-1))
