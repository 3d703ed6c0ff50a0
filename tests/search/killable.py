"""A worker of search that can be killed: `python -m tests.search.killable DATABASE_URL`.

Each line that it reads, `maintain WORKSPACE [STEP SECONDS]` or `build WORKSPACE MODEL`, is done by a process of its
own, whose id it answers. Given a step, it is killed so long after it. After the line `end` it answers how that has
ended: until then the id is nobody else's.
"""

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from uuid import UUID

from services.kernel.caller import Caller
from services.runtime import open_runtime
from services.search.model import segments
from services.search.repository import graphs, postings
from services.search.service import build_search, maintenance
from tests.support.acting import acting
from tests.support.settings import settings_for_tests

# So that little text has many commits, and a graph is wanted at once.
FANOUT, GRAPH_FROM = 3, 5
_FEW = 2


def main(database_url: str) -> None:
    """Do what is asked for, until nobody asks any more."""
    segments.FANOUT = FANOUT
    maintenance._CHUNKS, postings._BATCH_BYTES = _FEW, _FEW
    # A killed worker's statement ends in seconds otherwise.
    graphs._SETTINGS["client_connection_check_interval"] = "100ms"
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _work(database_url, line.split())
            os._exit(0)
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _work(database_url: str, order: Sequence[str]) -> None:
    kind, workspace_id = order[0], UUID(order[1])
    settings = settings_for_tests(database_url, search_graph_from=GRAPH_FROM)
    with open_runtime(settings, "killable", lets_in=False) as runtime:
        services = build_search(runtime.resources, settings)
        with acting(Caller(service="documents", workspace_id=workspace_id)):
            if kind == "maintain":
                services.maintenance.maintain(workspace_id, _killed_at(*order[2:]))
            else:
                services.vector_builds.build(workspace_id, UUID(order[2]), lambda: None, lambda _: None)


def _killed_at(step: str = "-1", seconds: str = "0") -> Callable[[], None]:
    """To be called at each step; so many seconds after that one the process is no more."""
    steps = itertools.count()
    end = threading.Timer(float(seconds), os.kill, [os.getpid(), signal.SIGKILL])

    def check() -> None:
        if next(steps) == int(step):
            end.start()

    return check


if __name__ == "__main__":
    main(*sys.argv[1:])
