import os
import subprocess
import sys

import pytest

from services.mesh.children import own_environment

_PROGRAM = """
import os, threading
from services.scheduling import take_turns
take_turns()
threading.Thread(target=lambda: print(os.sched_getscheduler(threading.get_native_id()))).start()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has such a policy")
class TestTakeTurns:
    def test_threads_that_a_process_starts_later_take_turns(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True, env=own_environment()
        )

        assert int(done.stdout) == os.SCHED_BATCH
