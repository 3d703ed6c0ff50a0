"""Load from h2load (nghttp2), over HTTP/1.1, or over HTTP/2 with a prepared gRPC message."""

import re
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from google.protobuf.message import Message

from tests.support.programs import ProgramMissing, require

PROGRAM = "h2load"
PACKAGE = "nghttp2-client"
_RUN_SECONDS = 60.0
_GRPC_HEADERS = {"content-type": "application/grpc", "te": "trailers"}

_FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s|m)")
_SUCCEEDED = re.compile(r"requests: .* (\d+) succeeded")
_STATUS = re.compile(r"status codes: (\d+) 2xx")
_DATA = re.compile(r"\((\d+)\) data")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class BenchError(Exception):
    """The bench cannot be run, or what it measured is not what it meant to measure."""


def require_h2load() -> None:
    """Install h2load where it is missing and we may. Raises BenchError where it stays missing."""
    try:
        require(PROGRAM, PACKAGE)
    except ProgramMissing as error:
        raise BenchError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Target:
    """One call, over and over: a GET over HTTP/1.1, or with `message` a unary gRPC call. `answer_bytes` is its body."""

    url: str
    headers: Mapping[str, str]
    answer_bytes: int
    message: Message | None = None
    # An answer that holds times and tokens is not always of the same length to the byte.
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """Calls in all, connections, and calls at once on each; as fast as they go, or so many `offered` a second.

    What is offered comes evenly: the connections begin one after the other, or all would call in the same moment.
    """

    calls: int
    connections: int
    at_once: int = 1
    offered: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: `calls` in `seconds`, and how long each took, in seconds."""

    calls: int
    seconds: float
    latencies: np.ndarray[tuple[int], np.dtype[np.float64]] = field(repr=False)

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    def percentile(self, percent: float) -> float:
        """In seconds."""
        return float(np.percentile(self.latencies, percent))


def framed(message: Message) -> bytes:
    """The message as gRPC sends it: not compressed, after its length in four bytes."""
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


def run(target: Target, load: Load) -> Sample:
    """Put the load on the target. Raises BenchError unless every call was answered, with a body of the right length.

    gRPC tells a failure in the trailers, which h2load does not read; but a failed call has no body.
    """
    with tempfile.TemporaryDirectory(prefix="plinth-h2load-") as scratch:
        log, body = Path(scratch, "log"), Path(scratch, "body")
        argv = [PROGRAM, "--requests", str(load.calls), "--clients", str(load.connections), "--threads", "1"]
        argv += ["--max-concurrent-streams", str(load.at_once), "--log-file", str(log)]
        if load.offered is not None:
            apart = max(1, round(1000 / load.offered))
            argv += ["--rps", f"{load.offered / load.connections:g}", "--rate", "1", "--rate-period", f"{apart}ms"]
        headers = dict(target.headers)
        if target.message is None:
            argv += ["--h1"]
        else:
            body.write_bytes(framed(target.message))
            argv += ["--data", str(body)]
            headers |= _GRPC_HEADERS
        for name, value in headers.items():
            argv += ["--header", f"{name}: {value}"]
        try:
            done = subprocess.run(
                [*argv, target.url], check=False, capture_output=True, text=True, timeout=_RUN_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{target.url} did not answer {load.calls} calls in {_RUN_SECONDS:g} s") from None
        latencies = np.loadtxt(log, usecols=2, ndmin=1) / 1e6 if log.exists() else np.empty(0)
    return _judged(done.stdout + done.stderr, target, load, latencies)


def _judged(output: str, target: Target, load: Load, latencies: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Sample:
    finished, succeeded = _FINISHED.search(output), _SUCCEEDED.search(output)
    status, data = _STATUS.search(output), _DATA.search(output)
    if finished is None or succeeded is None or status is None or data is None:
        raise BenchError(f"h2load says of {target.url}:\n{output.strip()}")
    expected = load.calls * target.answer_bytes
    same = abs(int(data[1]) - expected) <= target.tolerance * expected
    if not (int(succeeded[1]) == int(status[1]) == load.calls and same):
        raise BenchError(
            f"{target.url} answered not every call as it should: of {load.calls} calls {status[1]} were answered,"
            f" with {data[1]} bytes in place of {expected}.\n{output.strip()}"
        )
    return Sample(load.calls, float(finished[1]) * _UNITS[finished[2]], latencies)
