"""A stage of the chain, and the walk along them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.policy import MethodPolicy
from services.kernel.deadline import reset_deadline, set_deadline
from services.kernel.telemetry import describe

_log = structlog.get_logger("plinth.stages")


class Stage:
    """One concern of a call. `enter` may refuse by raising; `leave` runs for whatever was entered, in reverse."""

    def concerns(self, policy: MethodPolicy) -> bool:
        """Whether calls of this method pass the stage at all."""
        return True

    def enter(self, call: Call) -> None:
        """Before the handler. Raises a PlinthError to refuse the call."""

    def answer(self, call: Call, response: Message) -> None:
        """Between a unary handler's answer and its sending. Raises to fail the call."""

    def recheck(self, call: Call) -> None:
        """While a stream is open: would the call still be let in? Raises a PlinthError to end it."""

    def leave(self, call: Call) -> None:
        """After the handler, or after the refusal in `call.error`. Must not raise."""


@dataclass(frozen=True, slots=True)
class _Way:
    """What the calls of one method meet, in order, with each stage's place among all."""

    entering: tuple[tuple[int, Callable[[Call], None]], ...]
    answering: tuple[Callable[[Call, Message], None], ...]
    rechecking: tuple[Callable[[Call], None], ...]
    leaving: tuple[tuple[int, Callable[[Call], None]], ...]


class Walk:
    """Walks calls along the stages, in and out."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)
        self._ways: dict[str, _Way] = {}

    def enter(self, call: Call) -> None:
        """In, until one refuses. What a stage asks of others ends with the call's own deadline."""
        place, token = 0, set_deadline(call.deadline)
        try:
            for place, enter in self._way(call).entering:  # noqa: B007  # how far it came
                enter(call)
            place = len(self._stages)
        finally:
            call.entered = place
            reset_deadline(token)

    def answer(self, call: Call, response: Message) -> None:
        """Past the answer, from the inside out."""
        for answer in self._way(call).answering:
            answer(call, response)

    def recheck(self, call: Call) -> None:
        """Ask those that let the call in whether they still would."""
        for recheck in self._way(call).rechecking:
            recheck(call)

    def leave(self, call: Call) -> None:
        """Out, from the last one entered; every one of them, once."""
        entered, call.entered = call.entered, 0
        for place, leave in self._way(call).leaving:
            if place > entered:
                continue
            try:
                leave(call)
            except Exception as error:  # noqa: BLE001  # the others leave all the same
                _log.error("stage.failed", stage=type(self._stages[place - 1]).__name__, error=describe(error))

    def _way(self, call: Call) -> _Way:
        return self._ways.get(call.policy.full_name) or self._find_way(call.policy)

    def _find_way(self, policy: MethodPolicy) -> _Way:
        """Most stages have nothing to do at some points or with some methods, and to ask all the same would add up."""
        met = [(place, stage) for place, stage in enumerate(self._stages, 1) if stage.concerns(policy)]
        way = self._ways[policy.full_name] = _Way(
            tuple((place, stage.enter) for place, stage in met if type(stage).enter is not Stage.enter),
            tuple(stage.answer for _, stage in reversed(met) if type(stage).answer is not Stage.answer),
            tuple(stage.recheck for _, stage in met if type(stage).recheck is not Stage.recheck),
            tuple((place, stage.leave) for place, stage in reversed(met) if type(stage).leave is not Stage.leave),
        )
        return way
