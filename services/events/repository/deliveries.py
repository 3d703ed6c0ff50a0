"""Deliveries and their attempts, as rows."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import (
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.dialects.postgresql import insert as upsert

from services.events.model.attempts import Exchange, Failure
from services.events.model.deliveries import Delivery, DeliveryAttempt, DeliveryState, DeliveryTrigger
from services.events.tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from services.kernel.db import Session, Statement, compiled

_LAST = UUID(int=2**128 - 1)
_ATTEMPTS_SHOWN = 32
_MILLISECOND = timedelta(milliseconds=1)

_t = webhook_deliveries.c
_a = webhook_attempts.c
_KEY = (_t.workspace_id, _t.endpoint_id, _t.delivery_id)
# What changes as a delivery goes its way.
_PROGRESS = (
    "state",
    "attempt_count",
    "round",
    "round_attempts",
    "next_attempt_time",
    "reserved_time",
    "last_error",
    "end_time",
)
_of_endpoint = and_(_t.workspace_id == bindparam("workspace"), _t.endpoint_id == bindparam("endpoint"))
_by_id = and_(_of_endpoint, _t.delivery_id == bindparam("delivery"))
_added = upsert(webhook_deliveries).values({c.name: bindparam(c.name) for c in webhook_deliveries.columns})
_PUT = compiled(
    _added.on_conflict_do_update(
        index_elements=[_t.workspace_id, _t.endpoint_id, _t.event_id],
        set_={
            "trigger": _added.excluded.trigger,
            "state": _added.excluded.state,
            "round": _t.round + 1,
            "round_attempts": 0,
            "next_attempt_time": _added.excluded.next_attempt_time,
            "reserved_time": None,
            "payload": _added.excluded.payload,
            "last_error": "",
            "end_time": None,
        },
        where=_t.state == any_(bindparam("reopening", type_=ARRAY(Text))),
    ).returning(webhook_deliveries)
)
_GET = compiled(select(webhook_deliveries).where(_by_id))
_LOCK = compiled(select(webhook_deliveries).where(_by_id).with_for_update())
_SAVE = compiled(update(webhook_deliveries).where(_by_id).values({name: bindparam(name) for name in _PROGRESS}))
_waiting = and_(_of_endpoint, _t.state == DeliveryState.WAITING.value)
_LOCK_OLDEST_WAITING = compiled(
    select(webhook_deliveries).where(_waiting).order_by(_t.delivery_id).limit(1).with_for_update()
)
_RELEASE = compiled(
    update(webhook_deliveries)
    .where(
        _of_endpoint,
        _t.delivery_id.in_(select(_t.delivery_id).where(_waiting).order_by(_t.delivery_id).limit(bindparam("count"))),
    )
    .values(
        state=DeliveryState.PENDING.value,
        round=_t.round + 1,
        round_attempts=0,
        next_attempt_time=bindparam("now"),
        reserved_time=None,
    )
    .returning(webhook_deliveries)
)
_CANCEL = compiled(
    update(webhook_deliveries)
    .where(_of_endpoint, _t.state == any_(bindparam("states", type_=ARRAY(Text))))
    .values(
        state=DeliveryState.CANCELLED.value,
        next_attempt_time=None,
        reserved_time=None,
        end_time=bindparam("now"),
        last_error=bindparam("error"),
    )
)
_ADD_ATTEMPT = compiled(insert(webhook_attempts).values({c.name: bindparam(c.name) for c in webhook_attempts.columns}))
_ATTEMPT = (c for c in webhook_attempts.columns if c.name not in ("workspace_id", "endpoint_id"))
_attempts = select(*_ATTEMPT).where(_a.workspace_id == bindparam("workspace"), _a.endpoint_id == bindparam("endpoint"))
_ATTEMPTS = compiled(
    _attempts.where(_a.delivery_id == bindparam("delivery")).order_by(_a.number.desc()).limit(_ATTEMPTS_SHOWN)
)
_LAST_ATTEMPTS = compiled(
    _attempts.join(
        webhook_deliveries,
        and_(*(_t[name] == _a[name] for name in ("workspace_id", "endpoint_id", "delivery_id"))),
    ).where(_a.number == _t.attempt_count, _a.delivery_id == any_(bindparam("deliveries", type_=ARRAY(Uuid))))
)

# The payloads are what a list leaves out.
_LISTED = (*(c for c in webhook_deliveries.columns if c.name != "payload"), null().label("payload"))


def _listing(*, of_state: bool, of_event: bool) -> Select[tuple[object, ...]]:
    statement = select(*_LISTED).where(_of_endpoint, _t.delivery_id < bindparam("after"))
    if of_state:
        statement = statement.where(_t.state == bindparam("state"))
    if of_event:
        statement = statement.where(_t.event_id == bindparam("event"))
    return statement.order_by(_t.delivery_id.desc()).limit(bindparam("count"))


_LIST: Mapping[tuple[bool, bool], Statement] = {
    (of_state, of_event): compiled(_listing(of_state=of_state, of_event=of_event))
    for of_state in (False, True)
    for of_event in (False, True)
}

_e = webhook_endpoints.c
_unkept = (
    select(*_KEY)
    .join(webhook_endpoints, and_(_e.workspace_id == _t.workspace_id, _e.endpoint_id == _t.endpoint_id))
    .where(
        _t.payload.is_not(None),
        _t.end_time
        <= bindparam("now", type_=TIMESTAMP(timezone=True)) - _e.payload_retention_days * text("interval '1 day'"),
    )
    .order_by(_t.end_time)
    .limit(bindparam("count"))
)
# The bodies of requests and answers go together: a crash between two statements would leave the one without the other.
_erased = (
    update(webhook_deliveries).where(tuple_(*_KEY).in_(_unkept)).values(payload=None).returning(*_KEY).cte("erased")
)
_emptied = (
    update(webhook_attempts)
    .where(
        _a.workspace_id == _erased.c.workspace_id,
        _a.endpoint_id == _erased.c.endpoint_id,
        _a.delivery_id == _erased.c.delivery_id,
    )
    .values(response_body=literal(b""))
    .cte("emptied")
)
_ERASE = compiled(select(func.count().label("count")).select_from(_erased).add_cte(_emptied))
_SWEEP = compiled(
    delete(webhook_deliveries).where(
        tuple_(*_KEY).in_(
            select(*_KEY)
            .where(_t.end_time <= bindparam("ended_before"))
            .order_by(_t.end_time)
            .limit(bindparam("count"))
        )
    )
)


class DeliveryRepository:
    """What was and is to be delivered to the endpoints of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, delivery: Delivery, reopening: Collection[DeliveryState] = ()) -> Delivery | None:
        """Insert it, or open the delivery of its event again, where that is in one of the states.

        The delivery as it is then; None where there is one already that stays as it is.
        """
        return self._session.first(
            _PUT,
            _delivery,
            workspace_id=delivery.workspace_id,
            endpoint_id=delivery.endpoint_id,
            delivery_id=delivery.delivery_id,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            trigger=delivery.trigger,
            payload=delivery.payload,
            create_time=delivery.create_time,
            reopening=[state.value for state in reopening],
            **_progress(delivery),
        )

    def get(self, workspace_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> Delivery | None:
        """The delivery."""
        return self._session.first(_GET, _delivery, workspace=workspace_id, endpoint=endpoint_id, delivery=delivery_id)

    def lock(self, workspace_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> Delivery | None:
        """The delivery, locked until the commit; its endpoint must be locked before."""
        return self._session.first(_LOCK, _delivery, workspace=workspace_id, endpoint=endpoint_id, delivery=delivery_id)

    def save(self, delivery: Delivery) -> None:
        """Write how far it has come."""
        self._session.run(
            _SAVE,
            workspace=delivery.workspace_id,
            endpoint=delivery.endpoint_id,
            delivery=delivery.delivery_id,
            **_progress(delivery),
        )

    def lock_oldest_waiting(self, workspace_id: UUID, endpoint_id: UUID) -> Delivery | None:
        """The delivery to an endpoint that has waited longest, locked until the commit."""
        return self._session.first(_LOCK_OLDEST_WAITING, _delivery, workspace=workspace_id, endpoint=endpoint_id)

    def release(self, workspace_id: UUID, endpoint_id: UUID, now: datetime, count: int) -> list[Delivery]:
        """Make up to so many that wait pending, the oldest first, each in a new round."""
        return self._session.all(
            _RELEASE, _delivery, workspace=workspace_id, endpoint=endpoint_id, now=now, count=count
        )

    def cancel(
        self, workspace_id: UUID, endpoint_id: UUID, states: Collection[DeliveryState], now: datetime, error: str
    ) -> int:
        """Cancel all deliveries to an endpoint that are in one of the states; how many."""
        return self._session.run(
            _CANCEL,
            workspace=workspace_id,
            endpoint=endpoint_id,
            states=[state.value for state in states],
            now=now,
            error=error,
        )

    def list_newest(
        self,
        workspace_id: UUID,
        endpoint_id: UUID,
        state: DeliveryState | None,
        event_id: UUID | None,
        after: UUID | None,
        count: int,
    ) -> list[Delivery]:
        """Deliveries to an endpoint, newest first, without payloads; those in a state, or of an event."""
        filters: dict[str, object] = {}
        if state is not None:
            filters["state"] = state
        if event_id is not None:
            filters["event"] = event_id
        return self._session.all(
            _LIST[state is not None, event_id is not None],
            _delivery,
            workspace=workspace_id,
            endpoint=endpoint_id,
            after=after or _LAST,
            count=count,
            **filters,
        )

    def add_attempt(self, delivery: Delivery, exchange: Exchange) -> None:
        """Insert the attempt that `delivery` has just counted."""
        self._session.run(
            _ADD_ATTEMPT,
            workspace_id=delivery.workspace_id,
            endpoint_id=delivery.endpoint_id,
            delivery_id=delivery.delivery_id,
            number=delivery.attempt_count,
            time=exchange.time,
            latency_ms=exchange.latency // _MILLISECOND,
            address=exchange.address,
            request_headers=Jsonb(exchange.request_headers),
            status=exchange.status,
            response_headers=Jsonb(exchange.response_headers),
            response_body=exchange.response_body,
            failure=exchange.failure or "",
            error=exchange.error,
        )

    def attempts(self, delivery: Delivery) -> list[DeliveryAttempt]:
        """The last 32 attempts of a delivery, oldest first."""
        newest_first = self._session.all(
            _ATTEMPTS,
            _attempt,
            workspace=delivery.workspace_id,
            endpoint=delivery.endpoint_id,
            delivery=delivery.delivery_id,
        )
        return newest_first[::-1]

    def last_attempts(
        self, workspace_id: UUID, endpoint_id: UUID, deliveries: Sequence[Delivery]
    ) -> list[DeliveryAttempt]:
        """The last attempt of each delivery that has one."""
        ids = [delivery.delivery_id for delivery in deliveries]
        return self._session.all(_LAST_ATTEMPTS, _attempt, workspace=workspace_id, endpoint=endpoint_id, deliveries=ids)

    def erase_payloads(self, now: datetime, count: int) -> int:
        """Empty the bodies of up to so many whose retention has ended, of any workspace (in a system session)."""
        return self._session.first(_ERASE, lambda count: count, now=now, count=count) or 0

    def sweep(self, ended_before: datetime, count: int) -> int:
        """Delete up to so many that ended before then, of any workspace (in a system session); how many."""
        return self._session.run(_SWEEP, ended_before=ended_before, count=count)


def _progress(delivery: Delivery) -> dict[str, object]:
    return {name: getattr(delivery, name) for name in _PROGRESS}


def _delivery(*, trigger: str, state: str, **columns: object) -> Delivery:
    return Delivery(trigger=DeliveryTrigger(trigger), state=DeliveryState(state), **columns)  # type: ignore[arg-type]  # the columns are the fields


def _attempt(
    *,
    delivery_id: UUID,
    number: int,
    time: datetime,
    latency_ms: int,
    address: str,
    request_headers: Mapping[str, str],
    status: int | None,
    response_headers: Mapping[str, str],
    response_body: bytes,
    failure: str,
    error: str,
) -> DeliveryAttempt:
    exchange = Exchange(
        time=time,
        latency=latency_ms * _MILLISECOND,
        request_headers=request_headers,
        address=address,
        status=status,
        response_headers=response_headers,
        response_body=response_body,
        failure=Failure(failure) if failure else None,
        error=error,
    )
    return DeliveryAttempt(delivery_id, number, exchange)
