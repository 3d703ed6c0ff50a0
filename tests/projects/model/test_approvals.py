"""Approvals: who decides, how often, until when, and that a closed one stays closed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import PlinthError
from services.projects.errors import ApprovalClosed, ApprovalDecided, SelfApproval
from services.projects.model.approvals import OPEN_FOR, Approval, ApprovalState, Decision

REQUESTER, ALICE, BOB = UUID(int=1), UUID(int=2), UUID(int=3)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
APPROVE, REJECT = Decision.APPROVE, Decision.REJECT


def approval(required: int = 2) -> Approval:
    return Approval(
        workspace_id=UUID(int=10),
        approval_id=UUID(int=11),
        project_id=UUID(int=12),
        task_id=None,
        from_state="review",
        to_state="done",
        requester_id=REQUESTER,
        comment="",
        required_approvals=required,
        state=ApprovalState.PENDING,
        decisions=(),
        version=1,
        create_time=START,
        update_time=START,
    )


class TestDecided:
    def test_the_last_that_is_needed_approves(self) -> None:
        first = approval().decided(ALICE, APPROVE, "looks good", START)
        assert (first.state, first.approvals, first.version) == (ApprovalState.PENDING, 1, 2)
        second = first.decided(BOB, APPROVE, "", START)
        assert (second.state, second.approvals, second.version) == (ApprovalState.APPROVED, 2, 3)
        assert [decision.user_id for decision in second.decisions] == [ALICE, BOB]
        assert second.decisions[0].comment == "looks good"

    def test_one_rejection_refuses(self) -> None:
        rejected = approval().decided(ALICE, APPROVE, "", START).decided(BOB, REJECT, "too early", START)
        assert rejected.state is ApprovalState.REJECTED
        with pytest.raises(ApprovalClosed) as raised:
            rejected.decided(UUID(int=4), APPROVE, "", START)
        assert raised.value.metadata["state"] == "STATE_REJECTED"

    @pytest.mark.parametrize("decision", Decision)
    def test_nobody_decides_about_their_own_request(self, decision: Decision) -> None:
        with pytest.raises(SelfApproval):
            approval().decided(REQUESTER, decision, "", START)

    def test_the_same_again_changes_nothing_even_afterwards(self) -> None:
        once = approval(1).decided(ALICE, APPROVE, "first", START)
        assert once.decided(ALICE, APPROVE, "second", START + 2 * OPEN_FOR) is once

    def test_nobody_decides_twice(self) -> None:
        once = approval().decided(ALICE, APPROVE, "", START)
        with pytest.raises(ApprovalDecided):
            once.decided(ALICE, REJECT, "", START)

    def test_comes_too_late_from_the_moment_of_its_expiry_on(self) -> None:
        waiting = approval()
        in_time = waiting.decided(ALICE, APPROVE, "", waiting.expire_time - timedelta(microseconds=1))
        assert in_time.pending
        with pytest.raises(ApprovalClosed) as raised:
            waiting.decided(ALICE, APPROVE, "", waiting.expire_time)
        assert raised.value.metadata["state"] == "STATE_EXPIRED"


class TestEnd:
    def test_only_what_is_overdue_expires(self) -> None:
        waiting = approval()
        assert waiting.expired(waiting.expire_time - timedelta(microseconds=1)) is waiting
        off = waiting.expired(waiting.expire_time)
        assert (off.state, off.version, off.update_time) == (ApprovalState.EXPIRED, 2, waiting.expire_time)

    @pytest.mark.parametrize("state", [state for state in ApprovalState if state is not ApprovalState.PENDING])
    def test_what_is_closed_stays_as_it_is(self, state: ApprovalState) -> None:
        closed = replace(approval(), state=state)
        assert closed.superseded(START) is closed
        assert closed.expired(START + 2 * OPEN_FOR) is closed
        with pytest.raises(ApprovalClosed):
            closed.decided(ALICE, APPROVE, "", START)


class TestNames:
    def test_the_target_is_the_task_or_else_the_project(self) -> None:
        of_project = approval()
        of_task = replace(of_project, task_id=UUID(int=13))
        assert of_project.target == f"workspaces/{UUID(int=10)}/projects/{UUID(int=12)}"
        assert of_project.target_id == UUID(int=12)
        assert of_task.target == f"{of_project.target}/tasks/{UUID(int=13)}"
        assert of_task.target_id == UUID(int=13)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([REQUESTER, ALICE, BOB, UUID(int=4)]), st.sampled_from(Decision)),
        st.sampled_from(["supersede", "expire"]),
    ),
    max_size=12,
)


@given(st.integers(1, 3), MOVES, st.integers(0, 2 * OPEN_FOR.days))
def test_whatever_is_tried_it_is_decided_once_by_enough_others(
    required: int, moves: list[tuple[UUID, Decision] | str], days: int
) -> None:
    now = START + timedelta(days=days)
    seen = [approval(required)]
    for move in moves:
        last = seen[-1]
        match move:
            case (user_id, decision):
                try:
                    after = last.decided(user_id, decision, "", now)
                except PlinthError:
                    after = last
            case "supersede":
                after = last.superseded(now)
            case _:
                after = last.expired(now)
        if after is not last:
            assert last.pending, "a closed one changes no more"
            assert after.version == last.version + 1
            seen.append(after)
    end = seen[-1]
    users = [decision.user_id for decision in end.decisions]
    assert len(users) == len(set(users))
    assert REQUESTER not in users
    assert (end.state is ApprovalState.APPROVED) == (end.approvals >= required)
    assert (end.state is ApprovalState.REJECTED) == any(one.decision is REJECT for one in end.decisions)
    assert not (users and now >= end.expire_time)
