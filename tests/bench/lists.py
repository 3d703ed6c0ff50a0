"""ListProjects and ListActivity over a million rows: what the first page costs, and what page 10,000 does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc
import psycopg
from rich.console import Console

from plinth.projects.v1 import activity_service_pb2, project_service_pb2
from services.kernel.names import WORKSPACE
from tests.bench.h2load import BenchError, Target
from tests.bench.measure import Case, measure, one_at_a_time
from tests.bench.report import Aim, print_cases
from tests.bench.rig import Rig, Server
from tests.bench.world import World, framed_bytes
from tests.support.stubs import Stubs, with_token

_PAGE, _DEPTH = 100, 10_000
# One more than fill the pages: as behind the first page, there is something behind the last.
_ROWS = _PAGE * _DEPTH + 1
_EDGE = _PAGE * (_DEPTH - 1)
_ROUNDS = 9
# Row n is the n-th of its list. Of what a row refers to, nothing has to be there.
_FILL_PROJECTS = """
    insert into projects.projects (
        workspace_id, project_id, workflow_id, display_name, description, state, state_category, author_id, labels,
        version, create_time, update_time
    ) select %(workspace)s, lpad(to_hex(n), 32, '0')::uuid, %(workspace)s, 'Project ' || n, '', 'backlog', 'backlog',
        %(workspace)s, array['one of many'], 1, now(), now()
    from generate_series(%(first)s::int, %(last)s) n"""
_FILL_ACTIVITY = """
    insert into projects.activity (
        workspace_id, position, event_id, time, verb, resource, actor, changes, comment
    ) select %(workspace)s, %(rows)s + 1 - n, gen_random_uuid(), now(), 'transitioned', 'workspaces/' || %(workspace)s,
        'users/' || %(workspace)s, '[["state", "backlog", "planned"]]', ''
    from generate_series(%(first)s::int, %(last)s) n"""


@dataclass(frozen=True, slots=True)
class _List:
    """A method that lists, and the SQL that makes rows for it. Any: each method has messages of its own."""

    service: str
    method: str
    request: Callable[..., Any]
    call: Callable[[Any], Any]
    items: str
    fill: str


def measured(
    console: Console, rig: Rig, world: World, plinth: Server, *, rounds: int, seconds: float
) -> tuple[list[Case], list[Aim]]:
    """Both lists, of a workspace that has neither projects nor activity yet. Raises BenchError."""
    rounds, seconds = min(rounds, _ROUNDS), seconds / 2
    console.print(
        f"\nLists of {_ROWS:,} rows, {_PAGE} a page: {rounds} rounds of {seconds:g} s, one call at a time …",
        highlight=False,
    )
    [workspace_id] = WORKSPACE.ids(world.workspace)
    cases: list[Case] = []
    with grpc.insecure_channel(plinth.address) as channel, psycopg.connect(rig.owner_url, autocommit=True) as owner:
        # No foreign keys are looked up.
        owner.execute("set session_replication_role = replica")
        for one in _lists(Stubs(with_token(channel, world.token))):
            beyond = _fill(owner, one, workspace_id, world.workspace)
            for page, token in ((1, ""), (_DEPTH, beyond)):
                target = _target(one, world, plinth.address, token)
                cases.append(Case(f"{one.method}, page {page:,}", one_at_a_time(target), plinth.pid))
        owner.execute("vacuum (analyze) projects.projects, projects.activity")
    measure(cases, rounds=rounds, seconds=seconds)
    print_cases(console, cases)
    return cases, [
        Aim(f"{deep.name}, against page 1", deep.percentile(50) / first.percentile(50), 1.2, "×", at_least=False)
        for first, deep in zip(cases[::2], cases[1::2], strict=True)
    ]


def _lists(stubs: Stubs) -> list[_List]:
    return [
        _List(
            "ProjectService",
            "ListProjects",
            project_service_pb2.ListProjectsRequest,
            stubs.projects.ListProjects,
            "projects",
            _FILL_PROJECTS,
        ),
        _List(
            "ActivityService",
            "ListActivity",
            activity_service_pb2.ListActivityRequest,
            stubs.activity.ListActivity,
            "activities",
            _FILL_ACTIVITY,
        ),
    ]


def _fill(owner: psycopg.Connection[Any], one: _List, workspace_id: UUID, workspace: str) -> str:
    """Make the rows; the token of the last page.

    To turn over all the pages before it would take minutes. But a token says behind which row to go on, and the server
    gives that one out at once as long as only the two rows on either side of the edge are there.
    """

    def fill(first: int, last: int) -> None:
        owner.execute(one.fill, {"workspace": workspace_id, "rows": _ROWS, "first": first, "last": last})

    fill(_EDGE, _EDGE + 1)
    token: str = one.call(one.request(parent=workspace, page_size=1)).next_page_token
    fill(1, _EDGE - 1)
    fill(_EDGE + 2, _ROWS)
    return token


def _target(one: _List, world: World, address: str, token: str) -> Target:
    """The page behind this token, after one call by a real client. Raises BenchError unless it is the one meant."""
    request = one.request(parent=world.workspace, page_size=_PAGE, page_token=token)
    answer = one.call(request)
    behind = one.call(one.request(parent=world.workspace, page_size=_PAGE, page_token=answer.next_page_token))
    counts = len(getattr(answer, one.items)), len(getattr(behind, one.items))
    if counts != (_PAGE, 1 if token else _PAGE):
        raise BenchError(f"{one.method} lists {counts} rows on a page and the one behind it")
    url = f"http://{address}/plinth.projects.v1.{one.service}/{one.method}"
    return Target(url, world.headers, framed_bytes(answer), request)
