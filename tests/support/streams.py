"""A streams process on a test's database."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.kernel.config import Settings
from services.mesh.children import Child, Program, own_environment, wait_until_ready
from services.mesh.health import grpc_serving
from services.mesh.logs import LogFile
from services.mesh.ports import Reservation
from tests.support.waiting import PATIENCE_SECONDS


@contextmanager
def running_streams(settings: Settings, folder: Path) -> Iterator[str]:
    """Start the process, wait until it serves, and stop it in the end; its address. Its log lies in `folder`."""
    reservation = Reservation()
    environment = own_environment(
        PLINTH_DATABASE_URL=settings.database_url,
        PLINTH_MASTER_KEYS=settings.master_keys.get_secret_value(),
        PLINTH_DATA_DIR=str(folder),
        PLINTH_RATE_STANDARD=str(settings.rate_standard),
        PLINTH_DRAIN_SECONDS="0",
    )
    command = [sys.executable, "-m", "services.cli", "streams", "--address", reservation.address]
    program = Program("streams", command, lambda: grpc_serving(reservation.address), env=environment)
    child = Child(program, LogFile(folder / "streams.log"))
    child.start()
    try:
        wait_until_ready([child], time.monotonic() + PATIENCE_SECONDS, lambda *_: None)
        yield reservation.address
    finally:
        child.stop(5.0)
        reservation.close()
