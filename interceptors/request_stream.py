"""What a client streams, as a handler on a thread reads it: in bounded time, and to an end that the client itself set.

gRPC's own iterator ends without an error when a connection breaks or the deadline passes while it waits, if it hears of
that before it hears of the cancellation (seen in one of four cut connections): half a file would pass for a whole one.
And it waits for ever. So a thread reads ahead by a message, and asks once more after the last one.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from interceptors.opening import FIRST_MESSAGE_SECONDS, readable
from services.kernel.errors import CallDeadlineExceeded

# Between two messages, however small: who has stalled for so long gives the thread back.
NEXT_MESSAGE_SECONDS = 30.0


class RequestStream:
    """The messages of one call. `requests` is gRPC's iterator; `deadline` is in monotonic seconds.

    `recheck` is called at each message but the first, and at the end; it raises where the call is no longer let in.
    """

    def __init__(self, requests: Iterator[Any], deadline: float | None, recheck: Callable[[], None]) -> None:
        self._requests = requests
        self._deadline = deadline
        self._recheck = recheck
        self._first: Any = None
        self._read: queue.Queue[Any] = queue.Queue(1)
        self._closed = False

    def first(self) -> Any:
        """The first message, which the handler gets once more; None where there is none. Raises like `next`."""
        threading.Thread(target=self._read_ahead, name="plinth-requests", daemon=True).start()
        try:
            self._first = self._next(FIRST_MESSAGE_SECONDS)
        except StopIteration:
            return None
        return self._first

    def close(self) -> None:
        """Read no further: the thread ends, at the latest when the call does."""
        self._closed = True
        while True:
            try:
                self._read.get_nowait()
            except queue.Empty:
                return

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """Raises CallDeadlineExceeded, FieldsInvalid, a refusal, and gRPC's error of a call that was cancelled."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            message = readable(self._next(NEXT_MESSAGE_SECONDS))
        except StopIteration:
            self._recheck()
            raise
        self._recheck()
        return message

    def _next(self, seconds: float) -> Any:
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - time.monotonic())
        if seconds <= 0:
            raise CallDeadlineExceeded
        try:
            message = self._read.get(timeout=seconds)
        except queue.Empty:
            raise CallDeadlineExceeded from None
        if isinstance(message, BaseException):
            # Whoever asks again is told again.
            self._read.put(message)
            raise message
        return message

    def _read_ahead(self) -> None:
        try:
            for message in self._requests:
                self._read.put(message)
                if self._closed:
                    return
            # The second answer comes after whatever cancelled the call has arrived; only a true end ends twice.
            end: BaseException = StopIteration()
            for _ in self._requests:
                raise AssertionError("nothing follows the end of a stream")
        except BaseException as error:  # noqa: BLE001  # the handler's thread is where it matters
            end = error
        self._read.put(end)
