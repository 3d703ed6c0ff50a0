"""Replays under way, as rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, insert, select, update

from services.events.model.deliveries import DeliveryTrigger
from services.events.model.replays import Replay
from services.events.tables import replays
from services.kernel.db import Session, compiled

_t = replays.c
_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.replay_id == bindparam("replay"))
_ADD = compiled(insert(replays).values({c.name: bindparam(c.name) for c in replays.columns}))
_LOCK = compiled(select(replays).where(_by_id).with_for_update())
_MOVE = compiled(update(replays).where(_by_id).values(position=bindparam("reached"), replayed=bindparam("count")))
_SWEEP = compiled(delete(replays).where(_t.create_time <= bindparam("before")))


class ReplayRepository:
    """The replays of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, replay: Replay) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=replay.workspace_id,
            replay_id=replay.replay_id,
            endpoint_id=replay.endpoint_id,
            subscriber=replay.subscriber,
            trigger=replay.trigger,
            since=replay.since,
            until=replay.until,
            types=list(replay.types),
            position=replay.position,
            last_position=replay.last_position,
            replayed=replay.replayed,
            create_time=replay.create_time,
        )

    def lock(self, workspace_id: UUID, replay_id: UUID) -> Replay | None:
        """The replay, locked until the commit."""
        return self._session.first(_LOCK, _replay, workspace=workspace_id, replay=replay_id)

    def move(self, replay: Replay) -> None:
        """Write how far it has come."""
        self._session.run(
            _MOVE,
            workspace=replay.workspace_id,
            replay=replay.replay_id,
            reached=replay.position,
            count=replay.replayed,
        )

    def sweep(self, before: datetime) -> int:
        """Delete those begun before that moment, of any workspace (in a system session); how many."""
        return self._session.run(_SWEEP, before=before)


def _replay(  # one parameter a column
    *,
    workspace_id: UUID,
    replay_id: UUID,
    endpoint_id: UUID | None,
    subscriber: str,
    trigger: str,
    since: datetime,
    until: datetime,
    types: list[str],
    position: int,
    last_position: int,
    replayed: int,
    create_time: datetime,
) -> Replay:
    return Replay(
        workspace_id,
        replay_id,
        endpoint_id,
        subscriber,
        DeliveryTrigger(trigger),
        since,
        until,
        tuple(types),
        position,
        last_position,
        replayed,
        create_time,
    )
