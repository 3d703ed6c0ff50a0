"""How soon a change is felt: every server is asked again and again until it answers as it should."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

from tests.support.errors import Refusal, refusal_of
from tests.support.waiting import SLOWNESS_SECONDS

# The promise to customers: no process lets anybody in on what was taken from them for longer than this.
PROMISED_SECONDS = 1.0
# What the tests bear, on a machine that is busy.
BORNE_SECONDS = PROMISED_SECONDS + SLOWNESS_SECONDS

Probe = Callable[[], object]


def outcome(probe: Probe) -> Refusal:
    """How a call ends; OK when it is answered."""
    try:
        probe()
    except grpc.RpcError as error:
        return refusal_of(error)
    return Refusal()


def warm(probes: Sequence[Probe]) -> None:
    """Let in everywhere, twice, so that every cache holds it."""
    for probe in [*probes, *probes]:
        refusal = outcome(probe)
        assert refusal.code is grpc.StatusCode.OK, refusal


def let_in_for(probes: Sequence[Probe], *codes: grpc.StatusCode) -> list[float]:
    """For each probe, all run at once until they end with one of `codes`: when the last call that was let in began, in
    seconds from now; 0 where none was.

    A call that ends otherwise than with OK or one of `codes` fails the test.
    """
    began = time.monotonic()

    def ask(probe: Probe) -> float:
        let_in = 0.0
        while True:
            asked = time.monotonic() - began
            refusal = outcome(probe)
            if refusal.code in codes:
                return let_in
            assert refusal.code is grpc.StatusCode.OK, refusal
            assert asked < BORNE_SECONDS, f"not {codes} within {BORNE_SECONDS:g} s"
            let_in = asked

    with ThreadPoolExecutor(len(probes)) as pool:
        return list(pool.map(ask, probes))
