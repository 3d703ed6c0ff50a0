"""The units of work of projects, and who acts in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from services.kernel.caller import Caller, current_caller, reset_caller, set_caller
from services.kernel.unit_of_work import UnitOfWork, Units
from services.projects.model.engine import Actor
from services.projects.repository import ProjectsRepositories

ProjectsUnitOfWork = UnitOfWork[ProjectsRepositories]
ProjectsUnits = Units[ProjectsRepositories]
SERVICE = "projects"


def current_actor() -> Actor:
    """The caller, as the workflow engine sees them."""
    grant = current_caller().require_grant()
    return Actor(grant.user_id, grant.role)


@contextmanager
def acting_itself() -> Iterator[None]:
    """What is emitted inside was done by Plinth of its own accord, in the trace of the call under way if any."""
    try:
        caller = replace(current_caller(), user_id=None, session_id=None, api_key_id=None, service=SERVICE)
    except LookupError:
        caller = Caller(service=SERVICE)
    token = set_caller(caller)
    try:
        yield
    finally:
        reset_caller(token)
