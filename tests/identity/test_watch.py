"""WatchRevocations: what other processes are told."""

import asyncio
import time
import uuid

import pytest

from plinth.identity.v1 import session_service_pb2
from services.identity.watch import SessionWatcher
from services.kernel.errors import DependencyUnavailable
from services.kernel.feed import ApiKeyRevoked, GrantChanged, InvalidationHub, SessionRevoked, UserSessionsRevoked

Message = session_service_pb2.WatchRevocationsResponse


def healthy_hub() -> InvalidationHub:
    hub = InvalidationHub()
    hub.expect("test")
    hub.beat("test", time.monotonic() + 3600)
    return hub


async def told(hub: InvalidationHub, count: int) -> list[Message]:
    """The first messages of a stream during which a session, all sessions of a user and a key are revoked."""
    watcher = SessionWatcher(hub, asyncio.Event())
    messages = []
    stream = watcher.WatchRevocations(session_service_pb2.WatchRevocationsRequest(), None)
    async for message in stream:
        messages.append(message)
        if hub.healthy():
            # Each heartbeat that is told was heard before.
            hub.beat("test", time.monotonic() + 3600)
        if len(messages) == 1:
            hub.publish(SessionRevoked(uuid.UUID(int=1)))
            hub.publish(GrantChanged(uuid.UUID(int=9)))
            hub.publish(UserSessionsRevoked(uuid.UUID(int=2)))
            hub.publish(ApiKeyRevoked(uuid.UUID(int=3)))
        if len(messages) == count:
            break
    return messages


def test_the_first_message_says_to_forget_all_and_then_each_revocation_is_told_in_order() -> None:
    first, *rest = asyncio.run(told(healthy_hub(), 4))
    assert first.reset
    assert not first.revocations
    revocations = [revocation for message in rest for revocation in message.revocations]
    assert [revocation.WhichOneof("subject") for revocation in revocations] == ["session_id", "user_id", "api_key_id"]
    assert revocations[0].session_id == str(uuid.UUID(int=1))
    assert any(not message.revocations and not message.reset for message in rest), "a heartbeat says nothing"


def test_a_stream_over_a_silent_feed_ends() -> None:
    with pytest.raises(DependencyUnavailable):
        asyncio.run(told(InvalidationHub(), 5))


def test_a_stream_ends_when_the_process_stops() -> None:
    async def watch() -> int:
        stopping = asyncio.Event()
        stopping.set()
        request = session_service_pb2.WatchRevocationsRequest()
        return len(
            [message async for message in SessionWatcher(healthy_hub(), stopping).WatchRevocations(request, None)]
        )

    assert asyncio.run(watch()) <= 1
