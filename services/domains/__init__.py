"""The domains of the mesh: the list that a new one joins."""

from collections.abc import Mapping

from services.domains.documents import Documents
from services.domains.domain import Domain, Surroundings, Work
from services.domains.events import Events
from services.domains.identity import Identity
from services.domains.projects import Projects
from services.domains.search import Search
from services.domains.tenancy import Tenancy

__all__ = ["DOMAINS", "Domain", "Surroundings", "Work", "service_names"]

DOMAINS: Mapping[str, type[Domain]] = {
    "identity": Identity,
    "tenancy": Tenancy,
    "projects": Projects,
    "events": Events,
    "documents": Documents,
    "search": Search,
}


def service_names(domain: str) -> list[str]:
    """The full names of a domain's services."""
    kind = DOMAINS[domain]
    return [f"{kind.package}.{service}" for service in kind.services]
