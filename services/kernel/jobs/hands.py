"""The threads of a worker: they run what it has claimed, in order, and put down how it ended."""

import queue
import threading
from collections import deque
from collections.abc import Mapping

from opentelemetry.trace import Tracer

from services.kernel.clock import Clock
from services.kernel.jobs.attempt import Attempt, JobHandler
from services.kernel.jobs.run import Ran, run


class Hands:
    """A fixed number of threads.

    `ended` is set when an attempt has ended, and `hungry` when one has and no more than `low` wait for a thread.
    """

    def __init__(
        self,
        threads: int,
        handlers: Mapping[str, JobHandler],
        clock: Clock,
        tracer: Tracer | None,
        hungry: threading.Event,
    ) -> None:
        self._handlers = handlers
        self._clock = clock
        self._tracer = tracer
        self._hungry = hungry
        self.ended = threading.Event()
        self.low = 0
        self._todo: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._running: dict[int, Attempt] = {}
        self._done: deque[Ran] = deque()
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"plinth-job-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each thread end after what it is at; nobody waits for them."""
        for _ in self._threads:
            self._todo.put(None)

    def give(self, attempt: Attempt) -> None:
        """Run it as soon as a thread is free."""
        self._todo.put(attempt)

    def waiting(self) -> int:
        """How many no thread has begun."""
        return self._todo.qsize()

    def running(self) -> list[Attempt]:
        """What the threads are at."""
        return list(self._running.values())

    def under_way(self) -> int:
        """How many have not ended."""
        return self._todo.qsize() + len(self._running)

    def unsettled(self) -> int:
        """How many have ended that nobody has taken away."""
        return len(self._done)

    def take_ended(self) -> list[Ran]:
        """What has ended since the last time."""
        return [self._done.popleft() for _ in range(len(self._done))]

    def take_back(self) -> list[Attempt]:
        """What no thread has begun: it is not run any more."""
        back: list[Attempt] = []
        try:
            while True:
                attempt = self._todo.get_nowait()
                if attempt is not None:
                    back.append(attempt)
        except queue.Empty:
            return back

    def _work(self, number: int) -> None:
        while (attempt := self._todo.get()) is not None:
            self._running[number] = attempt
            self._done.append(run(attempt, self._handlers.get(attempt.kind), self._clock, self._tracer))
            del self._running[number]
            if not self.ended.is_set():
                self.ended.set()
            if self._todo.qsize() <= self.low and not self._hungry.is_set():
                self._hungry.set()
