"""What a process keeps of models: no more than serve."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np

from services.kernel.ids import new_id
from services.search.model.index import EmbedderKind
from services.search.model.lsa import Projection
from services.search.model.vectors import Model, ModelState
from services.search.service.projections import Projections
from services.search.service.units import SearchUnitOfWork
from tests.search.library import NOON

PARTS = Projection({"fox": 0, "wolf": 1}, np.ones((2, 3), np.float16)).to_parts()


def model(workspace_id: UUID) -> Model:
    return Model(
        workspace_id, new_id(), EmbedderKind.LSA, "lsa-3", 3, ModelState.LIVE, 300, 300, 300, False, 0, NOON, NOON
    )


class TestProjections:
    def test_are_read_once_and_two_of_a_workspace_are_kept(self) -> None:
        read: list[UUID] = []

        def parts(model: Model) -> list[bytes]:
            read.append(model.model_id)
            return PARTS

        # Any: of a unit of work, this is all that is asked.
        uow = cast(
            "SearchUnitOfWork", cast("Any", SimpleNamespace(repo=SimpleNamespace(models=SimpleNamespace(parts=parts))))
        )
        workspace_id = new_id()
        first, second, third = (model(workspace_id) for _ in range(3))
        projections, other = Projections(1_000_000), model(new_id())
        for one in (other, first, second, first, second, third, second, third, other):
            assert projections.of(uow, one).rows.keys() == {"fox", "wolf"}
        assert read == [one.model_id for one in (other, first, second, third)]
        projections.of(uow, first)
        assert read[-1] == first.model_id

    def test_are_read_anew_when_words_were_taken_out(self) -> None:
        kept = [PARTS, Projection({"wolf": 0}, np.ones((1, 3), np.float16)).to_parts()]
        models = SimpleNamespace(parts=lambda model: kept[model.prune_time > NOON])
        # Any: of a unit of work, this is all that is asked.
        uow = cast("SearchUnitOfWork", cast("Any", SimpleNamespace(repo=SimpleNamespace(models=models))))
        projections, before = Projections(1_000_000), model(new_id())
        assert "fox" in projections.of(uow, before).rows
        assert "fox" not in projections.of(uow, replace(before, prune_time=NOON + timedelta(days=7))).rows
        assert len(projections._cache.get(before.workspace_id) or ()) == 1
