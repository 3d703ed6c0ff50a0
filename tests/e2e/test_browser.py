"""A page in a real Chromium signs in by cookie, follows a project's activity, loses its line, and misses nothing."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from plinth.projects.v1 import project_pb2, project_service_pb2, project_service_pb2_grpc
from tests.e2e.conftest import Edge
from tests.e2e.test_streams import past_retention
from tests.support.browser import running_browser
from tests.support.line import Line, line_to
from tests.support.people import PASSWORD, Person
from tests.support.stubs import with_token
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

MILLISECONDS = 40_000
# Any document of the edge's own origin: what runs in it is a page of ours.
DOCUMENT = "/healthz"
# The whole client, as docs/events.md has it.
FOLLOW = """([path, cursor]) => {
    window.heard = [];
    window.connections = 0;
    window.reasons = [];
    let last = cursor;
    const connect = () => {
        const url = last ? `${path}?cursor=${last}` : path;
        const source = new EventSource(url);
        source.addEventListener("connected", event => { last = event.lastEventId; window.connections += 1; });
        source.onmessage = event => { last = event.lastEventId; window.heard.push(JSON.parse(event.data)); };
        source.onerror = async () => {
            if (source.readyState !== EventSource.CLOSED) return;
            const reason = await why(url);
            window.reasons.push(reason);
            if (reason === "CURSOR_EXPIRED") last = "";
            setTimeout(connect, 100);
        };
    };
    const why = async url => {
        const leave = new AbortController();
        try {
            const answer = await fetch(url, {signal: leave.signal});
            if (answer.ok) return "";
            const {details} = await answer.json();
            return details.find(detail => detail.reason)?.reason ?? "";
        } catch {
            return "";
        } finally {
            leave.abort();
        }
    };
    connect();
}"""
CALL = """async ([method, path, body]) => {
    const answer = await fetch(path, {method, body: body && JSON.stringify(body)});
    return {status: answer.status, ...await answer.json()};
}"""

# What needs no permission of the other side: a browser asks nobody before it sends this.
FORGE = """target => fetch(target, {
    method: "POST", mode: "no-cors", credentials: "include", body: JSON.stringify({displayName: "Forged"})
})"""


@dataclass
class Work:
    """A project that its owner keeps renaming, past the edge: so it goes on while that is away."""

    projects: project_service_pb2_grpc.ProjectServiceStub
    project: project_pb2.Project
    names: list[str]

    def rename(self, times: int) -> None:
        for _ in range(times):
            self.project.display_name = f"Name {len(self.names) + 1}"
            self.names.append(self.project.display_name)
            request = project_service_pb2.UpdateProjectRequest(project=self.project)
            request.update_mask.paths.append("display_name")
            self.project = self.projects.UpdateProject(request).project


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def line(edge: Edge) -> Iterator[Line]:
    """From the browser to the edge."""
    with line_to(edge.mesh.edge_address) as line:
        yield line


@pytest.fixture
def context(browser: Browser, line: Line) -> Iterator[BrowserContext]:
    """As of somebody's own: with nothing in it."""
    context = browser.new_context(base_url=f"http://{line.address}")
    context.set_default_timeout(MILLISECONDS)
    yield context
    context.close()


class NotOurs(BaseHTTPRequestHandler):
    """Serves a page of somebody else's."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Not ours</title>")

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants to know."""


@pytest.fixture
def foreign_port() -> Iterator[int]:
    """Where that page is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), NotOurs) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()


@pytest.fixture
def owner(edge: Edge) -> Person:
    return edge.people.new("ada")


@pytest.fixture
def page(context: BrowserContext, owner: Person) -> Page:
    """Signed in."""
    page = context.new_page()
    page.goto(DOCUMENT)
    answer = call(page, "POST", "/v1/auth:signIn", {"email": owner.email, "password": PASSWORD, "cookie": True})
    assert (answer["status"], answer["accessToken"], answer["refreshToken"]) == (200, "", "")
    return page


@pytest.fixture
def work(edge: Edge, owner: Person) -> Iterator[Work]:
    with grpc.insecure_channel(edge.mesh.serve_address) as channel:
        projects = project_service_pb2_grpc.ProjectServiceStub(with_token(channel, owner.access_token))
        parent = edge.people.workspace_of(owner).name
        request = project_service_pb2.CreateProjectRequest(
            parent=parent, project=project_pb2.Project(display_name="Name 0")
        )
        yield Work(projects, projects.CreateProject(request).project, [])


def call(page: Page, method: str, path: str, body: object = None) -> dict[str, object]:
    """What the page gets for a call: status and JSON."""
    answer: dict[str, object] = page.evaluate(CALL, [method, path, body])
    return answer


def follow(page: Page, work: Work, cursor: str = "") -> None:
    """Have the page follow the project's activity."""
    page.evaluate(FOLLOW, [f"/v1/{work.project.name}/activity:watch", cursor])


def names_heard(page: Page) -> list[str]:
    """The names that the page was told of, in the order in which it was."""
    told = page.evaluate("heard.map(activity => activity.changes)")
    return [change["newValue"] for changes in told for change in changes if change["field"] == "display_name"]


class TestCookie:
    def test_no_script_sees_it_and_the_browser_sends_it(
        self, page: Page, context: BrowserContext, owner: Person
    ) -> None:
        kept = {cookie["name"]: cookie for cookie in context.cookies()}
        assert set(kept) == {"__Host-plinth", "__Secure-plinth-refresh"}
        assert all(cookie["httpOnly"] and cookie["secure"] for cookie in kept.values())
        assert {cookie["sameSite"] for cookie in kept.values()} == {"Strict"}
        assert page.evaluate("document.cookie") == ""
        assert call(page, "GET", "/v1/me")["user"]["email"] == owner.email  # type: ignore[index]  # JSON

    def test_a_page_of_ours_changes_things_refreshes_and_signs_out(self, page: Page, context: BrowserContext) -> None:
        assert call(page, "POST", "/v1/workspaces", {"displayName": "By cookie"})["status"] == 200
        assert call(page, "POST", "/v1/auth:refresh", {"cookie": True})["status"] == 200
        assert call(page, "GET", "/v1/me")["status"] == 200
        assert call(page, "POST", "/v1/auth:signOut", {})["status"] == 200
        assert context.cookies() == []
        assert call(page, "GET", "/v1/me")["status"] == 401

    @pytest.mark.parametrize(
        ("host", "status"),
        [
            # Another port is another origin of the same site: the browser adds the cookie.
            ("127.0.0.1", 403),
            # Another site: it does not.
            ("localhost", 401),
        ],
    )
    def test_a_page_of_another_origin_changes_nothing(
        self, page: Page, context: BrowserContext, foreign_port: int, host: str, status: int
    ) -> None:
        elsewhere = context.new_page()
        elsewhere.goto(f"http://{host}:{foreign_port}/")
        target = f"{page.url.removesuffix(DOCUMENT)}/v1/workspaces"
        with elsewhere.expect_response(target) as response:
            elsewhere.evaluate(FORGE, target)
        assert response.value.status == status
        assert call(page, "GET", "/v1/workspaces")["workspaces"] == []


def kill(name: str, number: signal.Signals) -> Callable[[Edge, Line, Work], None]:
    """Ends a process of the mesh, lets things happen, and has it started again."""

    def cut(edge: Edge, line: Line, work: Work) -> None:
        del line
        pid = edge.mesh.pids[name]
        os.kill(pid, number)
        until(lambda: edge.mesh.pids.get(name) != pid, f"{name} has ended")
        work.rename(3)

        def back() -> bool:
            edge.mesh.look_after()
            return name in edge.mesh.pids

        until(back, f"{name} has been started again")

    return cut


def unplug(edge: Edge, line: Line, work: Work) -> None:
    """Takes the browser off the network for a while."""
    del edge
    line.cut()
    work.rename(3)
    line.mend()


CUTS = {
    "the streams process is killed": kill("streams", signal.SIGKILL),
    "the streams process is stopped": kill("streams", signal.SIGTERM),
    "the edge is killed": kill("envoy", signal.SIGKILL),
    "the line is cut": unplug,
}


class TestFollowing:
    def test_what_happens_is_there_at_once(self, page: Page, work: Work) -> None:
        follow(page, work)
        page.wait_for_function("connections === 1")
        work.rename(1)
        page.wait_for_function("heard.length === 1")
        [activity] = page.evaluate("heard")
        assert activity["resource"] == activity["project"] == work.project.name
        assert (activity["verb"], activity["changes"][0]["newValue"]) == ("updated", "Name 1")

    def test_past_retention_it_is_told_why_and_begins_anew(self, edge: Edge, page: Page, work: Work) -> None:
        with past_retention(edge) as cursor:
            follow(page, work, cursor)
            page.wait_for_function("connections === 1")
            work.rename(1)
            page.wait_for_function("heard.length === 1")
        assert page.evaluate("reasons") == ["CURSOR_EXPIRED"]
        assert names_heard(page) == work.names

    @pytest.mark.parametrize("cut", CUTS)
    def test_whatever_breaks_the_line_nothing_is_missed_and_nothing_told_twice(
        self, edge: Edge, line: Line, page: Page, work: Work, cut: str
    ) -> None:
        follow(page, work)
        page.wait_for_function("connections === 1")
        work.rename(2)
        page.wait_for_function("heard.length === 2")
        CUTS[cut](edge, line, work)
        work.rename(2)
        page.wait_for_function("connections > 1")
        # The last of all: what were told twice would stand before it.
        work.rename(1)
        page.wait_for_function("name => heard.some(told => told.changes[0].newValue === name)", arg=work.names[-1])
        assert names_heard(page) == work.names
