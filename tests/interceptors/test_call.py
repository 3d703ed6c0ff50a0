"""What the stages know of a call."""

from datetime import UTC, datetime

import pytest

from interceptors.call import NOBODY, Principal
from interceptors.ports import ApiKeyState
from services.kernel.caller import Caller
from services.kernel.ids import new_id

_USER = new_id()
_KEY = ApiKeyState(new_id(), new_id(), _USER, frozenset(), datetime(2026, 1, 1, tzinfo=UTC))


class TestPrincipal:
    @pytest.mark.parametrize(
        ("principal", "caller"),
        [
            (NOBODY, Caller()),
            (Principal(user_id=_USER, session_id=new_id()), Caller(user_id=_USER, session_id=new_id())),
            (
                Principal(user_id=_USER, api_key=_KEY),
                Caller(user_id=_USER, api_key_id=_KEY.api_key_id, workspace_id=_KEY.workspace_id),
            ),
            (Principal(service="tenancy"), Caller(service="tenancy")),
        ],
        ids=["nobody", "person", "key", "service"],
    )
    def test_is_named_as_the_services_name_it(self, principal: Principal, caller: Caller) -> None:
        assert principal.name == caller.principal
