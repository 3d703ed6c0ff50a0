"""A Watch stream of the event log as Server-Sent Events, the same for every domain.

The first event is named `connected` and holds nothing but an id: a page that makes a new EventSource later (a browser
gives up on one that was answered with an error) asks for what comes after the last id that it heard, as `cursor`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import timedelta

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from services.kernel import sse
from services.kernel.events import Event
from services.kernel.log_stream import Step

CONNECTED = "connected"
# How soon a browser comes back; that it waits at all spares a server that has just started again.
RETRY = timedelta(seconds=1)


def resume_from(metadata: Iterable[tuple[str, str | bytes]], cursor: str) -> str:
    """The cursor to go on from: the browser's, which comes back by itself with an old URL, before the URL's."""
    for key, value in metadata:
        if key == sse.LAST_EVENT_ID and isinstance(value, str) and value:
            return value
    return cursor


async def frames(
    steps: AsyncGenerator[Step, None], show: Callable[[Event], str], name: Callable[[Event], str] = lambda _: ""
) -> AsyncIterator[bytes]:
    """The steps of `LogStreams.follow` as bytes of the stream; a comment is the heartbeat.

    `show` writes an event's data; `name` says which name the page hears it under. Raises what the steps raise.
    """
    connected = False
    async with aclosing(steps):
        async for step in steps:
            told: list[bytes] = []
            if not connected:
                told += [sse.retry(RETRY), sse.frame("{}", id=_before(step), event=CONNECTED)]
                connected = True
            told += [sse.frame(show(event), id=str(event.position), event=name(event)) for event in step.events]
            if not step.events:
                told += [sse.comment(), sse.cursor(step.cursor)]
            yield b"".join(told)


def as_json(message: Message) -> str:
    """A message on one line, as a page gets it over REST too: with its empty fields."""
    return MessageToJson(message, indent=None, always_print_fields_with_no_presence=True)


def _before(step: Step) -> str:
    """The cursor before a step's events: they have not been told yet."""
    return str(step.events[0].position - 1) if step.events else step.cursor
