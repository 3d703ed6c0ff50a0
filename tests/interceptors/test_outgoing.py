"""Calls to another process."""

import grpc
import pytest
from grpc import StatusCode

from interceptors.outgoing import open_channel
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb, pb_grpc


class TestChannel:
    def test_takes_an_answer_as_large_as_the_settings_allow_and_no_larger(self, rig: SyncRig) -> None:
        large = pb.Answer(text="x" * 5000)
        rig.servicer.unary = lambda *_: large
        asked = f"127.0.0.1:{rig.port}", rig.tokens, "tenancy"
        with open_channel(*asked, max_bytes=large.ByteSize()) as channel:
            assert pb_grpc.ScratchServiceStub(channel).Tell(pb.Ask(), timeout=TIMEOUT) == large
        with open_channel(*asked, max_bytes=large.ByteSize() - 1) as channel, pytest.raises(grpc.RpcError) as raised:
            pb_grpc.ScratchServiceStub(channel).Tell(pb.Ask(), timeout=TIMEOUT)
        assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
