"""Stands in for `plinth serve`, `plinth streams` and `plinth worker`: a gRPC server with health and nothing behind it.

A health check of the service `wait:PATH` answers only when somebody has written to the FIFO at PATH. What happens is
written to stdout. `FAKE_BREAK=role` makes that role end at once, `FAKE_STUBBORN=role` deaf to SIGTERM.
"""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its stubs leave it Any
    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service.startswith("wait:"):
            print("waiting", flush=True)
            Path(request.service.removeprefix("wait:")).read_text()
            print("answering", flush=True)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


role, *options = sys.argv[1:]
named = dict(zip(options[::2], options[1::2], strict=True))
print(f"{role} starts with {options}", flush=True)
print(*(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("PLINTH_")), sep="\n")
if os.environ.get("FAKE_BREAK") == role:
    sys.exit("broken on purpose")
# Before anything is served: whoever sees us healthy may send it.
numbers = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
server.add_insecure_port(named["--address"])
server.start()
while os.environ.get("FAKE_STUBBORN") == role:
    signal.sigwait(numbers)
print(f"{role} got signal {int(signal.sigwait(numbers))}", flush=True)
server.stop(5).wait()
