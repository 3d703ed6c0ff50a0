"""The chain for the asyncio server of long-lived streams: the same stages, walked by tasks.

Stages may ask the database or another service, so they run on a thread; between them a stream costs no thread. Every
open stream is judged again when the feed tells of a change, and all the time while the feed is silent, so that none
outlives its session, key or grant by more than a second.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Any

from grpc_interceptor.server import AsyncServerInterceptor
from grpc_status import rpc_status

from interceptors.access import MethodDenied
from interceptors.call import Call
from interceptors.chain import UNGUARDED, Acting
from interceptors.errors import retry_after_seconds, status_of
from interceptors.opening import FIRST_MESSAGE_SECONDS, readable, tolerant
from interceptors.policy import PolicyTable
from interceptors.stages import Stage, Walk
from services.kernel.errors import CallDeadlineExceeded, DependencyUnavailable
from services.kernel.feed import MAX_SILENCE_SECONDS, Feed, Invalidation

_RECHECK_SECONDS = 0.25


class _OpenStream:
    """A stream that is being served, and may have to end before its time."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._ended_by: Exception | None = None
        self._waiting: asyncio.Task[Any] | None = None

    async def next(self, answers: AsyncIterator[Any]) -> Any:
        """The handler's next answer; None after the last. Raises what ended the stream meanwhile."""
        if self._ended_by is not None:
            raise self._ended_by
        self._waiting = asyncio.current_task()
        try:
            return await anext(answers, None)
        except asyncio.CancelledError:
            if self._ended_by is None or self._waiting is None:
                raise  # by gRPC, because the client has gone
            self._waiting.uncancel()
            raise self._ended_by from None
        finally:
            self._waiting = None

    def end(self, error: Exception) -> None:
        """End it now, or after the answer that gRPC is sending: cancelled there, the client would wait for ever."""
        self._ended_by = error
        if self._waiting is not None:
            self._waiting.cancel()


class AioChain(AsyncServerInterceptor):
    """Walks each call of an asyncio server along the stages."""

    def __init__(self, policies: PolicyTable, stages: Sequence[Stage], feed: Feed) -> None:
        self._policies = policies
        self._walk = Walk(stages)
        self._feed = feed
        self._open: set[_OpenStream] = set()
        self._changed = asyncio.Event()
        self._changes = 0

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """As the base class does; a request that cannot be parsed reaches the chain, and is refused there."""
        handler = await super().intercept_service(continuation, handler_call_details)  # type: ignore[no-untyped-call]
        policy = self._policies.get(handler_call_details.method)
        return tolerant(handler, policy) if handler is not None and policy is not None else handler

    def open_streams(self) -> int:
        """How many streams are being served."""
        return len(self._open)

    async def watch_access(self) -> None:
        """Judge open streams again whenever something changed; runs as a task for as long as the server does."""
        loop = asyncio.get_running_loop()

        def changed(_: Invalidation | None) -> None:
            self._changes += 1
            loop.call_soon_threadsafe(self._changed.set)

        unsubscribe = self._feed.subscribe(changed)
        try:
            while True:
                # Not `wait_for`, which loses a cancellation that meets its own end (python/cpython#86296).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RECHECK_SECONDS):
                        await self._changed.wait()
                if self._changed.is_set() or not self._feed.healthy():
                    self._changed.clear()
                    await asyncio.gather(*map(self._recheck, self._open))
        finally:
            unsubscribe()

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Any, method_name: str
    ) -> Any:
        """One call, from arrival to end. The types are gRPC's: a message or an iterator of them, in and out."""
        policy = self._policies.get(method_name)
        if policy is None:
            return await _unguarded(method, request_or_iterator, context, method_name)
        call = Call(policy, context)
        if policy.response_streaming:
            return self._stream(call, method, request_or_iterator)
        return await self._unary(call, method, request_or_iterator)

    async def _unary(self, call: Call, method: Callable[..., Any], request: Any) -> Any:
        response: Any = None
        try:
            request = await self._enter(call, request)
            with Acting(call):
                response = await method(request, call.context)
        except BaseException as error:  # noqa: BLE001  # the errors stage is the one place that knows them all
            call.error = error
        await self._leave(call)
        return response

    async def _stream(self, call: Call, method: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
        stream = _OpenStream(call)
        try:
            changes = self._changes
            request = await self._enter(call, request)
            self._open.add(stream)
            if changes != self._changes:
                self._changed.set()  # what came between the judgement and now concerns this stream, too
            async with contextlib.aclosing(_answers(call, method, request)) as answers:
                while (response := await stream.next(answers)) is not None:
                    call.answering = True
                    yield response
        except BaseException as error:  # noqa: BLE001
            call.error = error
        finally:
            self._open.discard(stream)
        await self._leave(call)

    async def _enter(self, call: Call, request: Any) -> Any:
        if not call.policy.request_streaming:
            call.request = request
            await _on_thread(self._walk.enter, call)
            return request
        loop = asyncio.get_running_loop()

        def first_message() -> Any:
            return asyncio.run_coroutine_threadsafe(_first_of(request), loop).result()

        call.first_message = first_message
        await _on_thread(self._walk.enter, call)
        return _chained(call.request, request)

    async def _recheck(self, stream: _OpenStream) -> None:
        try:
            async with asyncio.timeout(MAX_SILENCE_SECONDS):
                await asyncio.to_thread(self._walk.recheck, stream.call)
        except TimeoutError:
            stream.end(DependencyUnavailable("access"))
        except Exception as error:  # noqa: BLE001  # who cannot be judged may not go on either
            stream.end(error)

    async def _leave(self, call: Call) -> None:
        """Out, and on with what ended the call; a cancellation is passed on, or gRPC leaks the call (grpc#43360)."""
        self._walk.leave(call)
        if call.error is not None:
            if _ends_task(call.error):
                raise call.error
            context: Any = call.context
            seconds = retry_after_seconds(call.status)
            if seconds is not None and not call.answering:
                await context.send_initial_metadata((("retry-after", str(seconds)),))
            await context.abort_with_status(rpc_status.to_status(call.status))


async def _unguarded(method: Callable[..., Any], request: Any, context: Any, method_name: str) -> Any:
    """A method without a policy: the mesh's own health and reflection pass, anything else is denied."""
    if not method_name.startswith(UNGUARDED):
        status, _ = status_of(MethodDenied())
        await context.abort_with_status(rpc_status.to_status(status))
    answer = method(request, context)
    return answer if hasattr(answer, "__aiter__") else await answer


def _ends_task(error: BaseException) -> bool:
    """Whether gRPC told the task to end; a handler that raises CancelledError by itself owes an answer (grpc#29248)."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
    return cancelled or isinstance(error, GeneratorExit)


async def _on_thread(walk: Callable[[Call], None], call: Call) -> None:
    """Stages may wait, so they run on a thread. A cancelled call waits for them before it leaves: they share it."""
    walking = asyncio.ensure_future(asyncio.to_thread(walk, call))
    try:
        await asyncio.shield(walking)
    except asyncio.CancelledError:
        await asyncio.wait((walking,))
        walking.exception()
        raise


async def _answers(call: Call, method: Callable[..., Any], request: Any) -> AsyncGenerator[Any, None]:
    with Acting(call):
        responses = aiter(method(request, call.context))
    try:
        while True:
            # An async generator's body runs inside `anext`: the caller is set for just so long, each time; with the
            # grant that the stream was judged by last.
            with Acting(call):
                try:
                    response = await anext(responses)
                except StopAsyncIteration:
                    break
            yield response
    finally:
        # A handler that is given up cleans up now, not whenever it is collected.
        if isinstance(responses, AsyncGenerator):
            with Acting(call):
                await responses.aclose()


async def _first_of(messages: AsyncIterable[Any]) -> Any:
    """The first message of a client stream; one that never comes is not waited for, so that it holds no thread."""
    try:
        async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
            return await anext(aiter(messages), None)
    except TimeoutError:
        raise CallDeadlineExceeded from None


async def _chained(first: Any, rest: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """The whole stream again: gRPC's iterator goes on where `_first_of` has left it."""
    yield first
    async for message in rest:
        yield readable(message)
