"""Writers and readers that go on while things break, and remember what they were told."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import grpc

from plinth.tenancy.v1 import workspace_pb2, workspace_service_pb2
from tests.support.errors import Refusal, refusal_of
from tests.support.stubs import Stubs

CALL_SECONDS = 30.0
_PAUSE_SECONDS = 0.02
_MOST_EACH = 500
_MOST_SECONDS = 240.0


@dataclass(frozen=True)
class Refused:
    """A call that was refused, and when it began and ended (monotonic seconds)."""

    began: float
    ended: float
    refusal: Refusal


@dataclass
class Answers:
    """What callers were told. `acknowledged`: name by display name; `unanswered`: what was given up."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    slowest: float = 0.0
    reads: int = 0


class Load:
    """Each writer creates one workspace after the other, each under a request_id, until it is told that it exists.

    A refusal is tried again when its RetryInfo says so. Bounded in number and in time; leaving ends it.
    """

    def __init__(self, label: str, writers: Sequence[Stubs], readers: Sequence[Stubs]) -> None:
        self.answers = Answers()
        self._label = label
        self._writers = writers
        self._readers = readers
        self._stop = threading.Event()
        self._until = time.monotonic() + _MOST_SECONDS
        self._threads = ThreadPoolExecutor(len(writers) + len(readers))
        self._work: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._work = [
            *(self._threads.submit(self._write, number, stubs) for number, stubs in enumerate(self._writers)),
            *(self._threads.submit(self._read, stubs) for stubs in self._readers),
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._threads.shutdown()
        if error is None:
            for work in self._work:
                work.result()

    def is_over(self) -> bool:
        """Whether a thread has ended before it was told to: it failed, or has reached its bound."""
        return any(work.done() for work in self._work)

    def _write(self, number: int, stubs: Stubs) -> None:
        for count in range(_MOST_EACH):
            if self._stop.wait(_PAUSE_SECONDS):
                return
            display_name = f"{self._label} {number} {count}"
            request = workspace_service_pb2.CreateWorkspaceRequest(
                workspace=workspace_pb2.Workspace(display_name=display_name), request_id=str(uuid4())
            )
            answer = self._insist(partial(stubs.workspaces.CreateWorkspace, request, timeout=CALL_SECONDS))
            if answer is None:
                self.answers.unanswered.append(display_name)
                return
            self.answers.acknowledged[display_name] = answer.workspace.name

    def _read(self, stubs: Stubs) -> None:
        request = workspace_service_pb2.ListWorkspacesRequest(page_size=1)
        while not self._stop.wait(_PAUSE_SECONDS) and time.monotonic() < self._until:
            if self._insist(partial(stubs.workspaces.ListWorkspaces, request, timeout=CALL_SECONDS)) is not None:
                self.answers.reads += 1

    def _insist(self, call: Callable[[], object]) -> Any:
        """The answer, however often it takes; None when time is up. What was begun is finished after the stop, too."""
        while time.monotonic() < self._until:
            began = time.monotonic()
            try:
                return call()
            except grpc.RpcError as error:
                refusal = refusal_of(error)
                self.answers.refusals.append(Refused(began, time.monotonic(), refusal))
                threading.Event().wait(refusal.retry_seconds or _PAUSE_SECONDS)
            finally:
                self.answers.slowest = max(self.answers.slowest, time.monotonic() - began)
        return None
