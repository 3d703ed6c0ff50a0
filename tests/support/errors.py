"""What a call was refused with, as a client reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass
class Refusal:
    """A status with its details unpacked."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    domain: str = ""
    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    retry_seconds: float | None = None


def refusal_of(error: Any) -> Refusal:  # a grpc.RpcError that is a grpc.Call too
    """The status of a failed call."""
    refusal = Refusal(code=error.code(), message=error.details() or "")
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            refusal.reason, refusal.domain, refusal.metadata = info.reason, info.domain, dict(info.metadata)
        elif detail.Unpack(bad_request):
            refusal.fields = [violation.field for violation in bad_request.field_violations]
            refusal.told = [violation.description for violation in bad_request.field_violations]
        elif detail.Unpack(retry):
            refusal.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    return refusal


@contextmanager
def refused(code: grpc.StatusCode, reason: str) -> Iterator[Refusal]:
    """The call inside must be refused with this code and this reason; what else was said is in the value."""
    refusal = Refusal()
    with pytest.raises(grpc.RpcError) as raised:
        yield refusal
    refusal.__dict__.update(refusal_of(raised.value).__dict__)
    assert (refusal.code, refusal.reason) == (code, reason), refusal
    assert refusal.domain == "plinth"
