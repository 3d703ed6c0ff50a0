"""The bare servicer: verifies the token, runs the same compiled query, and does nothing else: the rest is chain."""

import argparse
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from plinth.tenancy.v1 import workspace_service_pb2, workspace_service_pb2_grpc
from services.kernel.config import Settings
from services.kernel.db import Database, Scope
from services.scheduling import take_turns
from services.serve import server_options, settle_memory
from services.tenancy import convert
from services.tenancy.repository.workspaces import WorkspaceRepository
from tests.bench.tokens import NotSignedIn, Tokens

DATABASE_URL, JWKS = "BARE_DATABASE_URL", "BARE_JWKS"


class BareWorkspaces(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    """GetWorkspace alone; the other methods are UNIMPLEMENTED."""

    def __init__(self, database: Database, tokens: Tokens) -> None:
        self._database = database
        self._tokens = tokens

    def GetWorkspace(
        self, request: workspace_service_pb2.GetWorkspaceRequest, context: grpc.ServicerContext
    ) -> workspace_service_pb2.GetWorkspaceResponse:
        """The workspace of that name, for anyone who is signed in: who is a member is not asked."""
        metadata: dict[str, Any] = dict(context.invocation_metadata())
        try:
            user_id = self._tokens.user_of(metadata.get("authorization", ""))
        except NotSignedIn:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Sign in.")
        workspace_id = convert.workspace_in(request.name)
        with self._database.transaction(Scope("plinth_tenancy", workspace_id, user_id)) as session:
            workspace = WorkspaceRepository(session).get(workspace_id)
        if workspace is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "There is no such workspace.")
        return workspace_service_pb2.GetWorkspaceResponse(workspace=convert.workspace_to_proto(workspace))


def bare_server(database: Database, tokens: Tokens, address: str, settings: Settings) -> tuple[grpc.Server, int]:
    """A server with as many threads and the same options as Plinth's; not started yet. With the port it is bound to."""
    server = grpc.server(ThreadPoolExecutor(settings.threads), options=server_options(settings))
    workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server(BareWorkspaces(database, tokens), server)
    healthy = health.HealthServicer()
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    return server, server.add_insecure_port(address)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--tuned", action="store_true", help="with what Plinth tells the system about its process")
    arguments = parser.parse_args()
    if arguments.tuned:
        take_turns()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    settings = Settings()
    database = Database(os.environ[DATABASE_URL], pool_size=settings.pool_size)
    server, _ = bare_server(database, Tokens(os.environ[JWKS]), arguments.address, settings)
    server.start()
    if arguments.tuned:
        settle_memory()
    stopping.wait()
    server.stop(1).wait()
    database.close()


if __name__ == "__main__":
    main()
