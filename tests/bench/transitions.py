"""TransitionProject, which changes what it is called with: so it has clients of its own, which know the next etag."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import grpc
import numpy as np
from rich.console import Console

from plinth.projects.v1 import project_pb2, project_service_pb2, workflow_pb2, workflow_service_pb2
from tests.bench.h2load import BenchError, Sample
from tests.bench.measure import GRPC_CONNECTIONS, UNDER_WAY, Case, measure
from tests.bench.peer_projects import LABEL, STATES
from tests.bench.report import Aim, print_cases
from tests.bench.rig import Server
from tests.bench.world import World
from tests.support.stubs import Stubs, with_token

_ROUNDS = 9
_PROJECTS_EACH = 8
_GUARD = f"'{LABEL}' in project.labels"
_TIMEOUT = 10.0
# A connection of its own for each channel.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)

# Moves a project of this name, in the version of this etag, to this state; the etag after.
Mover = Callable[[str, str, str], str]


@dataclass(slots=True)
class Moved:
    """A project, as its client knows it: its state follows from its version."""

    name: str
    version: int

    def step(self, move: Mover) -> None:
        """Once to the other state. Raises BenchError."""
        etag = move(self.name, STATES[self.version % 2], format(self.version, "x"))
        self.version += 1
        if etag != format(self.version, "x"):
            raise BenchError(f"{self.name} has etag {etag} in place of {self.version:x}")


class Clients:
    """Clients, each on a thread of its own and with projects of its own: no call waits for another's row."""

    def __init__(self, movers: Sequence[Mover], projects: Sequence[Sequence[Moved]]) -> None:
        self._movers = movers
        self._projects = projects

    def call(self, calls: int) -> Sample:
        """So many moves, shared among the clients. Raises BenchError."""
        each = calls // len(self._movers)
        with ThreadPoolExecutor(len(self._movers)) as pool:
            began = time.perf_counter()
            latencies = list(pool.map(_moves, self._movers, self._projects, [each] * len(self._movers)))
            seconds = time.perf_counter() - began
        return Sample(each * len(self._movers), seconds, np.array(latencies).ravel())


def _moves(move: Mover, projects: Sequence[Moved], calls: int) -> list[float]:
    """One client's; how long each took, in seconds."""
    taken = []
    for number in range(calls):
        began = time.perf_counter()
        projects[number % len(projects)].step(move)
        taken.append(time.perf_counter() - began)
    return taken


def _over_grpc(stubs: Stubs) -> Mover:
    def move(name: str, to_state: str, etag: str) -> str:
        request = project_service_pb2.TransitionProjectRequest(name=name, to_state=to_state, etag=etag)
        return stubs.projects.TransitionProject(request).project.etag

    return move


def _over_http(connection: socket.socket, token: str) -> Mover:
    headers = f"host: plinth\r\nauthorization: Bearer {token}\r\ncontent-type: application/json"

    def move(name: str, to_state: str, etag: str) -> str:
        body = json.dumps({"toState": to_state, "etag": etag})
        request = f"POST /v1/{name}:transition HTTP/1.1\r\n{headers}\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        # In one piece, as http.client would not: the peer need not wait for the body.
        connection.sendall(request.encode())
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            text = answer.read()
        if answer.status != http.client.OK:
            raise BenchError(f"{name}:transition answered {answer.status}: {text.decode()}")
        return str(json.loads(text)["project"]["etag"])

    return move


def _projects(stubs: Stubs, workspace: str) -> list[list[Moved]]:
    """Projects for every client, in a workflow with a guard."""
    workflow = workflow_pb2.Workflow(
        display_name="Back and forth",
        states=[workflow_pb2.WorkflowState(id=state, category=workflow_pb2.STATE_CATEGORY_STARTED) for state in STATES],
        initial_state=STATES[0],
        transitions=[
            workflow_pb2.WorkflowTransition(from_state=a, to_state=b, guard=_GUARD) for a, b in (STATES, STATES[::-1])
        ],
    )
    made = workflow_service_pb2.CreateWorkflowRequest(parent=workspace, workflow=workflow)
    workflow = stubs.workflows.CreateWorkflow(made).workflow

    def project(number: int) -> Moved:
        wanted = project_pb2.Project(display_name=f"Moved {number}", workflow=workflow.name, labels=[LABEL])
        created = project_service_pb2.CreateProjectRequest(parent=workspace, project=wanted)
        return Moved(stubs.projects.CreateProject(created).project.name, 1)

    return [[project(client * _PROJECTS_EACH + n) for n in range(_PROJECTS_EACH)] for client in range(UNDER_WAY)]


def measured(
    console: Console, world: World, plinth: Server, peer: Server, *, rounds: int, seconds: float
) -> tuple[list[Case], list[Aim]]:
    """Plinth and the peer move the same projects in turns. Raises BenchError."""
    rounds = min(rounds, _ROUNDS)
    console.print(
        f"\nTransitionProject: {rounds} rounds of {seconds:g} s, {UNDER_WAY} calls under way …", highlight=False
    )
    with ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(plinth.address, options=_OPTIONS))
            for _ in range(GRPC_CONNECTIONS)
        ]
        stubs = [Stubs(with_token(channel, world.token)) for channel in channels]
        host, _, port = peer.address.rpartition(":")
        connections = [socket.create_connection((host, int(port)), _TIMEOUT) for _ in range(UNDER_WAY)]
        for connection in connections:
            stack.enter_context(connection)
        projects = _projects(stubs[0], world.workspace)
        over_grpc = Clients([_over_grpc(stubs[n % len(stubs)]) for n in range(UNDER_WAY)], projects)
        over_http = Clients([_over_http(connection, world.token) for connection in connections], projects)
        cases = [
            ours := Case("Plinth, gRPC, TransitionProject", over_grpc.call, plinth.pid),
            theirs := Case("peer, HTTP/1.1, the same", over_http.call, peer.pid),
        ]
        measure(cases, rounds=rounds, seconds=seconds)
    print_cases(console, cases)
    return cases, [Aim("TransitionProject over gRPC, against the peer", ours.times(theirs), 1.5, "×")]
