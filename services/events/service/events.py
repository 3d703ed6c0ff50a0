"""Use cases of EventService."""

from datetime import datetime
from uuid import UUID

from plinth.events.v1 import events_pb2
from services.events.errors import SubscriberUnknown
from services.events.model.deliveries import DeliveryTrigger
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.filters import EventFilter
from services.events.model.names import ENDPOINT, EVENT
from services.events.service.replays import Replays
from services.events.service.units import EventsUnitOfWork, EventsUnits
from services.kernel.errors import FieldsInvalid, FieldViolation, PageTokenInvalid, ResourceNotFound
from services.kernel.events import Event
from services.kernel.names import WORKSPACE
from services.kernel.paging import Page, Pager
from services.kernel.wire import timestamp


class EventService:
    """What happened in a workspace."""

    def __init__(self, units: EventsUnits, pager: Pager, replays: Replays) -> None:
        self._units = units
        self._pager = pager
        self._replays = replays

    def list_events(
        self, workspace_id: UUID, wanted: EventFilter, page_size: int, page_token: str
    ) -> tuple[list[Event], str]:
        """A page of events, newest first, and the token of the next. Raises PageTokenInvalid."""
        page = self._pager.page(page_token, page_size, "ListEvents", str(workspace_id), *wanted.key)
        with self._units() as uow:
            found = uow.repo.events.list_newest(workspace_id, wanted, _position(page), page.count)
        return self._pager.cut(page, found, lambda event: (event.position,))

    def get(self, workspace_id: UUID, event_id: UUID) -> Event:
        """An event that is still kept. Raises ResourceNotFound."""
        with self._units() as uow:
            event = uow.repo.events.get(workspace_id, event_id)
        if event is None:
            raise ResourceNotFound(EVENT.format(workspace=workspace_id, event=event_id))
        return event

    def replay(
        self, workspace_id: UUID, since: datetime, until: datetime | None, types: tuple[str, ...], target: str
    ) -> str:
        """Begin to deliver events once more to an endpoint or a subscriber; the name of the job that does it.

        Raises FieldsInvalid, ResourceNotFound, SubscriberUnknown or WebhookEndpointDisabled.
        """
        if until is not None and until <= since:
            raise FieldsInvalid(FieldViolation("until", "must be after since"))
        with self._units() as uow:
            found = _target(uow, workspace_id, target)
            job = self._replays.begin(uow, workspace_id, found, DeliveryTrigger.REPLAY, since, until, types)
            uow.emit(
                target if isinstance(found, WebhookEndpoint) else WORKSPACE.format(workspace=workspace_id),
                events_pb2.EventsReplayed(
                    target=target, since=timestamp(since), until=timestamp(until), types=types, job=job
                ),
            )
            uow.commit()
        return job


def _target(uow: EventsUnitOfWork, workspace_id: UUID, target: str) -> WebhookEndpoint | str:
    """The endpoint of that name, or the name of a subscriber.

    Raises ResourceNotFound, SubscriberUnknown or WebhookEndpointDisabled.
    """
    if "/" not in target:
        if not uow.repo.events.knows_subscriber(target):
            raise SubscriberUnknown(target)
        return target
    owner_id, endpoint_id = ENDPOINT.ids(target, field="target")
    endpoint = uow.repo.endpoints.get(workspace_id, endpoint_id) if owner_id == workspace_id else None
    if endpoint is None:
        raise ResourceNotFound(target)
    endpoint.require_enabled()
    return endpoint


def _position(page: Page) -> int | None:
    match page.after:
        case None:
            return None
        case (int() as position,):
            return position
        case _:
            raise PageTokenInvalid
