"""Every SQL statement of events, one class a table."""

from services.events.repository.deliveries import DeliveryRepository
from services.events.repository.endpoints import EndpointRepository
from services.events.repository.events import EventRepository
from services.events.repository.jobs import JobRepository
from services.events.repository.replays import ReplayRepository
from services.events.repository.secrets import SecretRepository
from services.kernel.db import Session


class EventsRepositories:
    """What a unit of work of events has in `repo`."""

    def __init__(self, session: Session) -> None:
        self.events = EventRepository(session)
        self.endpoints = EndpointRepository(session)
        self.secrets = SecretRepository(session)
        self.deliveries = DeliveryRepository(session)
        self.replays = ReplayRepository(session)
        self.jobs = JobRepository(session)


__all__ = ["EventsRepositories"]
