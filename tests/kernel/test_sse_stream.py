"""A Watch stream as a browser's EventSource makes sense of it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from services.kernel.errors import ShuttingDown
from services.kernel.log_stream import Step
from services.kernel.sse_stream import RETRY, frames, resume_from
from tests.kernel.test_log_stream import OURS, _event
from tests.kernel.test_sse import EventSource


async def steps(*given: Step) -> AsyncGenerator[Step, None]:
    for step in given:
        yield step
    raise ShuttingDown


def step(*positions: int, cursor: int | None = None) -> Step:
    events = [_event(position, OURS, f"thing.{position}") for position in positions]
    return Step(events, str(positions[-1] if positions else cursor))


def sent(*given: Step, **options: Any) -> bytes:
    """All that the stream says until it ends."""

    async def collect() -> bytes:
        said = b""
        try:
            async for chunk in frames(steps(*given), lambda event: f"#{event.position}", **options):
                assert chunk.endswith(b"\n\n")
                said += chunk
        except ShuttingDown:
            return said
        raise AssertionError("the stream ended without a reason to come back")

    return asyncio.run(collect())


def test_each_event_comes_with_its_place_in_the_log() -> None:
    heard = EventSource().read(sent(step(4, 6), step(7)))
    assert heard.messages[1:] == [("message", "#4", "4"), ("message", "#6", "6"), ("message", "#7", "7")]


def test_a_page_learns_at_once_that_it_is_connected_and_where() -> None:
    heard = EventSource().read(sent(step(cursor=41)))
    assert heard.messages == [("connected", "{}", "41")]
    assert heard.wait_milliseconds == RETRY.total_seconds() * 1000


def test_nothing_counts_as_heard_before_it_was_told() -> None:
    heard = EventSource().read(sent(step(4, 6)))
    assert heard.messages[0] == ("connected", "{}", "3")


def test_an_event_can_have_a_name() -> None:
    heard = EventSource().read(sent(step(4), name=lambda event: event.type))
    assert heard.messages[1] == ("thing.4", "#4", "4")


def test_a_heartbeat_is_a_comment_that_moves_the_cursor() -> None:
    first, beat = sent(step(cursor=1)), sent(step(cursor=1), step(cursor=8))
    assert beat.removeprefix(first) == b":\n\nid: 8\n\n"
    assert EventSource().read(beat).last_id == "8"


@pytest.mark.parametrize(
    ("metadata", "cursor"),
    [
        ([], "3"),
        ([("last-event-id", "7")], "7"),
        ([("last-event-id", "")], "3"),
        ([("last-event-id-bin", b"7"), ("x", "8")], "3"),
    ],
)
def test_a_browser_that_comes_back_knows_better_than_its_url(metadata: list[tuple[str, str]], cursor: str) -> None:
    assert resume_from(metadata, "3") == cursor
