"""The units of work of search."""

from services.kernel.unit_of_work import UnitOfWork, Units
from services.search.repository import SearchRepositories

SearchUnitOfWork = UnitOfWork[SearchRepositories]
SearchUnits = Units[SearchRepositories]
SERVICE = "search"
QUEUE = "index"
