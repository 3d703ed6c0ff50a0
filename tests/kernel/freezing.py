"""A sequencer in a process of its own, to be frozen.

python -m tests.kernel.freezing DATABASE_URL
"""

import os
import sys
import threading

from services.kernel.clock import SystemClock
from services.kernel.db import Database
from services.kernel.sequencer import Sequencer
from services.kernel.telemetry import configure_logging
from tests.support.event_log import partitions_of


def main(url: str) -> None:
    """Run until killed; say each change of whether it leads."""
    configure_logging("ERROR")
    database = Database(url, pool_size=2)
    sequencer = Sequencer(database.connect, SystemClock(), ensure=partitions_of(database).ensure)
    sequencer.start()
    led = False
    while True:
        if sequencer.leading() != led:
            led = not led
            os.write(1, b"leads\n" if led else b"stands by\n")
        threading.Event().wait(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
