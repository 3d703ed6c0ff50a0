"""A stage of the chain, and the walk along them."""

from collections.abc import Sequence

import structlog
from google.protobuf.message import Message

from interceptors.call import Call
from services.kernel.deadline import reset_deadline, set_deadline
from services.kernel.telemetry import describe

_log = structlog.get_logger("plinth.stages")


class Stage:
    """One concern of a call. `enter` may refuse by raising; `leave` runs for whatever was entered, in reverse."""

    def enter(self, call: Call) -> None:
        """Before the handler. Raises a PlinthError to refuse the call."""

    def answer(self, call: Call, response: Message) -> None:
        """Between a unary handler's answer and its sending. Raises to fail the call."""

    def recheck(self, call: Call) -> None:
        """While a stream is open: would the call still be let in? Raises a PlinthError to end it."""

    def leave(self, call: Call) -> None:
        """After the handler, or after the refusal in `call.error`. Must not raise."""


class Walk:
    """Walks calls along the stages, in and out."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        # Most stages have nothing to do at some of these points, and to ask them all the same would add up.
        places = tuple(enumerate(stages, 1))
        self._entering = tuple((place, stage) for place, stage in places if type(stage).enter is not Stage.enter)
        self._answering = tuple(stage for stage in reversed(stages) if type(stage).answer is not Stage.answer)
        self._rechecking = tuple(stage for stage in stages if type(stage).recheck is not Stage.recheck)
        self._leaving = tuple((place, stage) for place, stage in places[::-1] if type(stage).leave is not Stage.leave)
        self._last = len(stages)

    def enter(self, call: Call) -> None:
        """In, until one refuses. What a stage asks of others ends with the call's own deadline."""
        token = set_deadline(call.deadline)
        try:
            for place, stage in self._entering:
                call.entered = place
                stage.enter(call)
            call.entered = self._last
        finally:
            reset_deadline(token)

    def answer(self, call: Call, response: Message) -> None:
        """Past the answer, from the inside out."""
        for stage in self._answering:
            stage.answer(call, response)

    def recheck(self, call: Call) -> None:
        """Ask those that let the call in whether they still would."""
        for stage in self._rechecking:
            stage.recheck(call)

    def leave(self, call: Call) -> None:
        """Out, from the last one entered; every one of them, once."""
        entered, call.entered = call.entered, 0
        for place, stage in self._leaving:
            if place > entered:
                continue
            try:
                stage.leave(call)
            except Exception as error:  # noqa: BLE001  # the others leave all the same
                _log.error("stage.failed", stage=type(stage).__name__, error=describe(error))
