"""The peer: two calls as a good engineer writes them with FastAPI, SQLAlchemy's async ORM and asyncpg.

It does what Plinth does on GetWorkspace: verifies the token (cached), sets role, workspace and user in the transaction,
asks whether the user is a member who may (cached for the second by which Plinth may be late, too), reads the row under
row-level security, answers the same JSON, counts in Prometheus and writes a JSON access log. It traces nothing. What
TransitionProject takes beyond that is in `peer_projects`.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID

import orjson
import structlog
from fastapi import Depends, FastAPI, HTTPException, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_asgi_app
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import select, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.bench.peer_projects import TransitionIn, TransitionOut, transition
from tests.bench.peer_tables import Member, Workspace
from tests.bench.tokens import NotSignedIn, Tokens

DATABASE_URL, JWKS = "PEER_DATABASE_URL", "PEER_JWKS"
POOL_SIZE = 16
MEMBERSHIP_SECONDS = 1.0
_MOVERS = frozenset({"owner", "admin", "member"})
_READERS = _MOVERS | {"viewer"}
_SCOPE = text(
    "select set_config('role', :role, true), set_config('plinth.workspace', :workspace, true),"
    " set_config('plinth.user', :user, true)"
)


class WorkspaceOut(BaseModel):
    """A workspace, as JSON."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    name: str
    display_name: str
    etag: str
    create_time: datetime
    update_time: datetime


class GetWorkspaceOut(BaseModel):
    """The answer."""

    workspace: WorkspaceOut


class Tenants:
    """Sessions in the scope of a workspace and a user. A user's role is remembered for MEMBERSHIP_SECONDS."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._roles: dict[tuple[UUID, UUID], tuple[str, float]] = {}

    @asynccontextmanager
    async def session(self, role: str, workspace_id: UUID, user_id: UUID) -> AsyncIterator[AsyncSession]:
        """One transaction under this role of the database."""
        async with self._sessions() as session:
            await session.execute(_SCOPE, {"role": role, "workspace": str(workspace_id), "user": str(user_id)})
            yield session

    async def require(self, permitted: frozenset[str], workspace_id: UUID, user_id: UUID) -> None:
        """Let pass only members in one of these roles. Raises HTTPException."""
        known = self._roles.get((workspace_id, user_id))
        if known is None or known[1] <= time.monotonic():
            async with self.session("plinth_tenancy", workspace_id, user_id) as session:
                role = await session.scalar(
                    select(Member.role).where(Member.workspace_id == workspace_id, Member.user_id == user_id)
                )
            if role is None:
                raise HTTPException(404, "There is no such workspace.")
            known = self._roles[workspace_id, user_id] = role, time.monotonic() + MEMBERSHIP_SECONDS
        if known[0] not in permitted:
            raise HTTPException(403, "Your role does not permit this.")


class Observed:
    """Prometheus metrics and a JSON line per request, as plain ASGI: BaseHTTPMiddleware would cost much more."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self._app = app
        self._log = structlog.wrap_logger(
            structlog.BytesLogger(),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            cache_logger_on_first_use=True,
        )
        self._requests = Counter("http_requests", "Requests.", labels, registry=registry)
        self._seconds = Histogram("http_request_duration_seconds", "Their duration.", labels, registry=registry)
        self._in_flight = Gauge("http_requests_in_flight", "Requests under way.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._in_flight.inc()
        try:
            await self._app(scope, receive, observe)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "")
            self._in_flight.dec()
            self._requests.labels(scope["method"], route, status).inc()
            self._seconds.labels(scope["method"], route, status).observe(seconds)
            client = scope.get("client")
            self._log.info(
                "request",
                method=scope["method"],
                route=route,
                path=scope["path"],
                status=status,
                milliseconds=round(seconds * 1000, 3),
                source=client[0] if client else "",
            )


def create_app(database_url: URL, jwks: str) -> FastAPI:
    """The service over this database."""
    engine = create_async_engine(database_url, pool_size=POOL_SIZE, max_overflow=0)
    tenants = Tenants(async_sessionmaker(engine, expire_on_commit=False))
    tokens, registry = Tokens(jwks), CollectorRegistry()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(Observed, registry=registry)
    app.mount("/metrics", make_asgi_app(registry))

    async def current_user(request: Request) -> UUID:
        try:
            return tokens.user_of(request.headers.get("authorization", ""))
        except NotSignedIn:
            raise HTTPException(401, "Sign in.") from None

    @app.get("/v1/workspaces/{workspace_id}")
    async def get_workspace(workspace_id: UUID, user_id: Annotated[UUID, Depends(current_user)]) -> GetWorkspaceOut:
        await tenants.require(_READERS, workspace_id, user_id)
        async with tenants.session("plinth_tenancy", workspace_id, user_id) as session:
            workspace = await session.scalar(select(Workspace).where(Workspace.workspace_id == workspace_id))
        if workspace is None:
            raise HTTPException(404, "There is no such workspace.")
        return GetWorkspaceOut(
            workspace=WorkspaceOut(
                name=f"workspaces/{workspace.workspace_id}",
                display_name=workspace.display_name,
                etag=format(workspace.version, "x"),
                create_time=workspace.create_time,
                update_time=workspace.update_time,
            )
        )

    @app.post("/v1/workspaces/{workspace_id}/projects/{project_id}:transition")
    async def transition_project(
        workspace_id: UUID,
        project_id: UUID,
        wanted: TransitionIn,
        request: Request,
        user_id: Annotated[UUID, Depends(current_user)],
    ) -> TransitionOut:
        await tenants.require(_MOVERS, workspace_id, user_id)
        source = request.client.host if request.client else ""
        async with tenants.session("plinth_projects", workspace_id, user_id) as session:
            return await transition(session, workspace_id, project_id, user_id, wanted, source)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def asyncpg_url(libpq_url: str) -> URL:
    """The same database, as SQLAlchemy names it: over the same Unix socket, under the same login."""
    parts = conninfo_to_dict(libpq_url)
    query = {"host": str(parts["host"]), "port": str(parts["port"])}
    return URL.create("postgresql+asyncpg", username=str(parts["user"]), database=str(parts["dbname"]), query=query)


def from_environment() -> FastAPI:
    """What uvicorn runs."""
    return create_app(asyncpg_url(os.environ[DATABASE_URL]), os.environ[JWKS])
