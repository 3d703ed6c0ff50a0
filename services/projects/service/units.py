"""The units of work of projects, and who acts in them."""

from services.kernel.caller import current_caller
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
