"""Whose turn it is at the parsers."""

import threading
from contextlib import ExitStack
from uuid import UUID

import pytest

from services.documents.service.slots import Slot, Slots
from tests.support.waiting import until

ONE, OTHER, THIRD = (UUID(int=n) for n in (1, 2, 3))


class Line:
    """Those who wait, in the order that they came in, and those who have been given a place."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.given: list[tuple[UUID, Slot]] = []

    def join(self, workspace_id: UUID) -> None:
        slot = self.slots.of(workspace_id)
        before = sum(self.slots.state())

        def wait() -> None:
            slot.take(lambda: None)
            self.given.append((workspace_id, slot))

        threading.Thread(target=wait, daemon=True).start()
        until(lambda: sum(self.slots.state()) > before, "it to wait or to have a place")

    def free(self, workspace_id: UUID) -> None:
        """The first of a workspace is done."""
        [slot, *_] = [slot for one, slot in self.given if one == workspace_id]
        self.given.remove((workspace_id, slot))
        slot.free()

    def have(self, *workspaces: UUID) -> None:
        """Wait until just these have their places."""
        until(lambda: sorted(one for one, _ in self.given) == sorted(workspaces), f"{workspaces} to be given theirs")
        assert self.slots.state()[0] == len(workspaces)


def test_the_places_are_as_many_as_there_are_parsers() -> None:
    line = Line(Slots(2))
    for _ in range(3):
        line.join(ONE)
    line.have(ONE, ONE)
    assert line.slots.state() == (2, 1)
    line.free(ONE)
    line.have(ONE, ONE)
    assert line.slots.state() == (2, 0)


def test_one_that_has_all_of_them_keeps_nobody_else_waiting() -> None:
    line = Line(Slots(2))
    for workspace_id in (ONE, ONE, ONE, OTHER):
        line.join(workspace_id)
    line.have(ONE, ONE, OTHER)
    # One more than there are is one more, and not two.
    line.join(THIRD)
    assert line.slots.state() == (3, 2)
    line.free(OTHER)
    line.have(ONE, ONE, THIRD)


def test_who_has_fewest_comes_next_and_of_those_who_came_first() -> None:
    line = Line(Slots(2))
    for workspace_id in (ONE, OTHER, ONE, ONE, THIRD):
        line.join(workspace_id)
    line.have(ONE, OTHER)
    line.free(ONE)
    # Both that wait have none: the one came first.
    line.have(ONE, OTHER)
    line.free(OTHER)
    line.have(ONE, THIRD)


def test_many_of_several_keep_one_of_another_waiting_for_one_of_each() -> None:
    line = Line(Slots(2))
    for workspace_id in (ONE, OTHER, ONE, ONE, OTHER, OTHER, THIRD):
        line.join(workspace_id)
    line.have(ONE, OTHER)
    for workspace_id in (ONE, OTHER):
        line.free(workspace_id)
        line.have(ONE, OTHER)
    line.free(ONE)
    line.have(OTHER, THIRD)


def test_who_waits_no_more_stands_in_nobodys_way() -> None:
    class Enough(Exception):
        pass

    def enough() -> None:
        raise Enough

    slots = Slots(1)
    with ExitStack() as stack:
        first = stack.enter_context(slots.of(ONE))
        first.take(enough)
        with pytest.raises(Enough), slots.of(ONE) as second:
            second.take(enough)
        assert slots.state() == (1, 0)
    assert slots.state() == (0, 0)
