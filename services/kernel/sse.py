"""Server-Sent Events, as a browser's EventSource reads them (WHATWG HTML §9.2).

A stream is UTF-8 text of `text/event-stream`: frames of `field: value` lines, each ended by an empty line. The browser
keeps the last `id` it was told, and sends it as `Last-Event-ID` when it connects again.
"""

import re
from collections.abc import Iterable
from datetime import timedelta

CONTENT_TYPE = "text/event-stream"
# What a browser sends when it connects again, as gRPC metadata.
LAST_EVENT_ID = "last-event-id"
# How often a stream that has nothing to tell says so. Proxies cut what is silent, many of them after 30 seconds.
HEARTBEAT = timedelta(seconds=15)

# The three line endings that the format knows; str.splitlines knows more.
_LINE_END = re.compile(r"\r\n|\n|\r")
_NOT_IN_FIELD = re.compile(r"[\r\n]")
_NOT_IN_ID = re.compile(r"[\r\n\0]")


def frame(data: str, *, id: str = "", event: str = "") -> bytes:
    """One event. The page hears it as a `message`, or under the name `event`; an empty `id` leaves the last one.

    Each line of `data` becomes a field; every kind of line ending arrives as a line feed. Raises ValueError for an id
    with a NUL, which a browser would pass over, and for an id or a name with a line ending, which would begin another
    field.
    """
    lines = [f"data: {line}" for line in _LINE_END.split(data)]
    return _block([*_named("event", event, _NOT_IN_FIELD), *_named("id", id, _NOT_IN_ID), *lines])


def cursor(id: str) -> bytes:
    """The id alone: the browser resumes from there, and the page hears nothing. Raises ValueError like `frame`."""
    return _block(_named("id", id, _NOT_IN_ID))


def comment(text: str = "") -> bytes:
    """A line that everybody passes over: a heartbeat."""
    return _block([f": {line}" if line else ":" for line in _LINE_END.split(text)])


def retry(delay: timedelta) -> bytes:
    """How long the browser waits before it connects again; whole milliseconds. Raises ValueError for less than none."""
    milliseconds = delay // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise ValueError("a delay cannot be negative")
    return _block([f"retry: {milliseconds}"])


def _named(field: str, value: str, refused: re.Pattern[str]) -> list[str]:
    if refused.search(value):
        raise ValueError(f"the {field} of an event holds what a browser would not take")
    return [f"{field}: {value}"] if value else []


def _block(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode() + b"\n"
