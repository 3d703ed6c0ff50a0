"""Projects: soft deletion."""

from datetime import datetime, timedelta

import pytest

from services.projects.errors import ProjectDeleted
from services.projects.model.projects import PURGE_AFTER
from tests.projects.model.definitions import NOW, project

LATER = NOW + timedelta(hours=1)
PROJECT = project()


class TestDeleted:
    def test_deleted_and_back_it_is_as_it_was_but_for_its_version(self) -> None:
        deleted = PROJECT.after_delete(LATER)
        assert deleted.deleted
        assert deleted.purge_time == LATER + PURGE_AFTER
        with pytest.raises(ProjectDeleted):
            deleted.require_living()
        back = deleted.after_undelete(LATER)
        back.require_living()
        assert back.version == 3
        assert back.state == PROJECT.state

    def test_twice_is_once(self) -> None:
        deleted = PROJECT.after_delete(LATER)
        assert deleted.after_delete(LATER) is deleted
        assert PROJECT.after_undelete(LATER) is PROJECT

    @pytest.mark.parametrize(("at", "gone"), [(LATER, False), (LATER + PURGE_AFTER, True)])
    def test_it_is_gone_at_its_purge_time(self, at: datetime, gone: bool) -> None:
        assert PROJECT.after_delete(LATER).gone(at) is gone
        assert not PROJECT.gone(at)
