"""The feed as a Watch stream carries it on, to processes without the database behind it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection
from typing import TypeVar, cast
from uuid import UUID

from services.kernel.errors import DependencyUnavailable
from services.kernel.feed import HEARTBEAT_SECONDS, Feed, Invalidation

T = TypeVar("T")

_MAX_WAITING = 10_000


async def follow(
    feed: Feed,
    topics: Collection[type[T]] | Collection[tuple[type[T], UUID]],
    stopping: asyncio.Event,
    *,
    every: float = HEARTBEAT_SECONDS / 4,
) -> AsyncGenerator[list[T] | None, None]:
    """What of these topics came since the last answer; an empty list: a heartbeat; None: anything may have been missed.

    The first answer is None. Heartbeats are looked for `every` so many seconds, and so is `stopping`, which ends it.
    Raises DependencyUnavailable when the feed falls silent.
    """
    loop = asyncio.get_running_loop()
    waiting: list[T | None] = []
    arrived = asyncio.Event()

    def take(invalidation: T | None) -> None:
        if invalidation is None or len(waiting) >= _MAX_WAITING:
            waiting[:] = [None]
        else:
            waiting.append(invalidation)
        arrived.set()

    def hear(invalidation: Invalidation | None) -> None:
        # The feed calls on its own thread; the list belongs to the loop's. A loop that has closed hears no more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(take, cast("T | None", invalidation))

    unsubscribe = feed.subscribe(hear, topics)
    try:
        yield None
        heard = float("-inf")
        while not stopping.is_set():
            if not feed.healthy():
                raise DependencyUnavailable("invalidation feed")
            latest = feed.heard()
            # A heartbeat passes one of our own feed on; made of nothing, it would add our silence to the reader's.
            if waiting or latest > heard:
                heard = latest
                batch, waiting[:] = list(waiting), []
                arrived.clear()
                if None in batch:
                    yield None
                yield [invalidation for invalidation in batch if invalidation is not None]
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`, which loses a cancellation that meets its own end (python/cpython#86296).
                async with asyncio.timeout(every):
                    await arrived.wait()
    finally:
        unsubscribe()
