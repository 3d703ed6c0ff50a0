"""Servers of the scratch contract, one for each test."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import hypothesis
import pytest

from tests.support.rigs import AioRig, Rig, SyncRig
from tests.support.scratch import pb

# How long an example takes says nothing where other tests share the machine.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


@pytest.fixture
def rig() -> Iterator[SyncRig]:
    with SyncRig() as rig:
        yield rig


async def _answer(request: Any, context: Any) -> Any:
    del context
    return pb.Answer(text=request.text)


async def _count(request: Any, context: Any) -> AsyncIterator[Any]:
    del context
    for number in range(request.count):
        yield pb.Answer(number=number)


async def _collect(requests: AsyncIterator[Any], context: Any) -> Any:
    del context
    return pb.Answer(text="".join([request.text async for request in requests]))


async def _echo(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    del context
    async for request in requests:
        yield pb.Answer(text=request.text)


@pytest.fixture
def aio_rig() -> Iterator[AioRig]:
    rig = AioRig()
    rig.servicer.unary, rig.servicer.stream = _answer, _count
    rig.servicer.upload, rig.servicer.converse = _collect, _echo
    with rig:
        yield rig


@pytest.fixture(params=["rig", "aio_rig"])
def either(request: pytest.FixtureRequest) -> Rig:
    """Both servers: what is tested with it holds on threads and on the event loop."""
    found: Rig = request.getfixturevalue(request.param)
    return found
