"""What goes on while processes are killed: movers of projects, an endpoint that records, streams that resume."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import grpc
import orjson

from plinth.projects.v1 import activity_service_pb2, project_pb2, project_service_pb2
from tests.support.errors import refusal_of
from tests.support.people import Person

CALL_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
# There and back again, so that no move is a no-op.
_CIRCLE = ("planned", "backlog")


class Recorder:
    """An endpoint on loopback that takes every webhook: ids of events by subject, in the order of their arrival."""

    def __init__(self) -> None:
        self.arrivals: dict[str, list[str]] = defaultdict(list)
        lock, arrivals = threading.Lock(), self.arrivals

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    arrivals[event["subject"]].append(event["id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def insist(call: Callable[[], Any], until: float) -> Any:
    """The answer, however often it takes. Raises what it was refused with last when time is up."""
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            refusal = refusal_of(error)
            transient = refusal.code in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.CANCELLED,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.UNKNOWN,
            ) or (refusal.code is grpc.StatusCode.ABORTED and refusal.reason != "ETAG_MISMATCH")
            if not transient or time.monotonic() > until:
                raise
            threading.Event().wait(min(refusal.retry_seconds or _PAUSE_SECONDS, 0.5))


@dataclass
class Mover:
    """Moves one project of a workspace again and again, each move under a request_id until it is answered."""

    person: Person
    workspace: str
    until: float
    project: project_pb2.Project = field(default_factory=project_pb2.Project)
    acknowledged: list[str] = field(default_factory=list)
    cursor: str = ""
    seen: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Note where the activity stands, and create the project."""
        request = activity_service_pb2.WatchActivityRequest(parent=self.workspace)
        # Any: its stubs forget that an answer can be cancelled.
        stream: Any = self.person.stubs.activity.WatchActivity(request, timeout=60)
        self.cursor = next(stream).cursor
        stream.cancel()
        stub, wanted = self.person.stubs.projects, project_pb2.Project(display_name="Moved")
        new = project_service_pb2.CreateProjectRequest(parent=self.workspace, project=wanted, request_id=str(uuid4()))
        self.project = insist(lambda: stub.CreateProject(new, timeout=CALL_SECONDS), self.until).project

    def move(self, stop: threading.Event) -> None:
        """Until told to stop; the move at hand is finished."""
        stub = self.person.stubs.projects
        while not stop.wait(_PAUSE_SECONDS):
            request = project_service_pb2.TransitionProjectRequest(
                name=self.project.name,
                to_state=_CIRCLE[len(self.acknowledged) % 2],
                etag=self.project.etag,
                request_id=str(uuid4()),
            )
            answer = insist(lambda request=request: stub.TransitionProject(request, timeout=CALL_SECONDS), self.until)  # type: ignore[misc]  # bound now
            self.project = answer.project
            self.acknowledged.append(self.project.state)

    def watch(self, stop: threading.Event) -> None:
        """Follow the workspace's activity, and resume from the last cursor whenever the stream breaks."""
        while not stop.is_set():
            request = activity_service_pb2.WatchActivityRequest(parent=self.workspace, cursor=self.cursor)
            stream = self.person.stubs.activity.WatchActivity(request)
            ending = threading.Thread(target=_cancel_on, args=(stop, stream), daemon=True)
            ending.start()
            try:
                for message in stream:
                    self.cursor = message.cursor
                    if message.activity.verb == "transitioned":
                        self.seen.append(message.activity.name)
            except grpc.RpcError:
                stop.wait(_PAUSE_SECONDS)


def _cancel_on(stop: threading.Event, stream: Any) -> None:
    while stream.is_active() and not stop.wait(0.1):
        pass
    stream.cancel()
