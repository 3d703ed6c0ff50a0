"""A change of the master key: nobody is signed out, and in the end the old key is needed no longer."""

import base64
import os

import pytest

from services.identity.repository import IdentityRepositories
from services.identity.service.housekeeping import Housekeeping
from services.kernel.secrets import DecryptionError, Keyring
from services.kernel.unit_of_work import Resources, Units
from tests.identity.island import Island
from tests.support.settings import MASTER_KEYS

NEW = base64.b64encode(os.urandom(32)).decode()


def test_what_the_old_key_sealed_is_brought_under_the_new_one(island: Island, keyring: Keyring) -> None:
    person = island.new()
    rotated = Keyring.parse(f"new:{NEW},{MASTER_KEYS}")
    resources = Resources(island.database, island.clock, island.hub, island.mailbox)
    units = Units(resources, "identity", IdentityRepositories)
    housekeeping = Housekeeping(units, island.clock, rotated)

    assert housekeeping.reseal() >= 2
    assert housekeeping.reseal() == 0

    with units.system() as uow:
        session = uow.repo.sessions.get(person.session.id)
        keys = uow.repo.signing_keys.list_all()
    assert session is not None
    alone = Keyring.parse(f"new:{NEW}")
    assert alone.decrypt(session.refresh_key, context=session.context)
    assert all(alone.decrypt(key.private_key, context=key.context) for key in keys)
    with pytest.raises(DecryptionError):
        keyring.decrypt(session.refresh_key, context=session.context)


def test_without_a_former_key_nothing_is_looked_for(island: Island) -> None:
    island.new()
    resources = Resources(island.database, island.clock, island.hub, island.mailbox)
    units = Units(resources, "identity", IdentityRepositories)
    # Whoever looked would meet what this key cannot open.
    assert Housekeeping(units, island.clock, Keyring.parse(f"new:{NEW}")).reseal() == 0
