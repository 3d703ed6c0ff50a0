"""Filters (AIP-160) and orders (AIP-132) of lists, over a declared set of fields, with keyset paging.

A repository declares what its list knows, and compiles one statement for each shape of question:

    PROJECTS = Fields(
        Field("display_name", projects.c.display_name, TEXT, sortable=True),
        Field("create_time", projects.c.create_time, TIMESTAMP, sortable=True),
        id=projects.c.project_id,
        default_order="create_time desc",
    )

    @lru_cache(maxsize=256)
    def _page(part: Part) -> Statement:
        return compiled(part.narrow(select(projects).where(in_workspace)).limit(bindparam("count")))

    def list_page(self, workspace_id: UUID, wanted: ListQuery, page: Page) -> list[Project]:
        part = wanted.part(page)
        return self._session.all(_page(part), Project, workspace=workspace_id, count=page.count, **part.values)

A service asks, and the page token is bound to the question:

    page = pager.page(page_token, page_size, "ListProjects", str(workspace_id), filter, order_by)
    wanted = PROJECTS.query(filter, order_by)
    with units() as uow:
        found = uow.repo.projects.list_page(workspace_id, wanted, page)
    return pager.cut(page, found, wanted.key_of)
"""

from services.kernel.filtering.kinds import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    TEXT_MAP,
    TEXTS,
    TIMESTAMP,
    Field,
    Kind,
    one_of,
    resource,
)
from services.kernel.filtering.query import Fields, ListQuery, Part

__all__ = [
    "BOOLEAN",
    "INTEGER",
    "NUMBER",
    "TEXT",
    "TEXTS",
    "TEXT_MAP",
    "TIMESTAMP",
    "Field",
    "Fields",
    "Kind",
    "ListQuery",
    "Part",
    "one_of",
    "resource",
]
