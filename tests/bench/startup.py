"""How long it takes to come up: the command line's imports, and a whole mesh on data that is there already."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from services.mesh.children import Child, Program, own_environment, wait_until_ready
from services.mesh.logs import LogFile
from services.mesh.ports import free_port
from tests.bench.report import Aim
from tests.bench.rig import answers

_IMPORT = "import services.cli"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_IMPORT_SECONDS = 30.0


def measured(console: Console, folder: Path) -> list[Aim]:
    """Both of them."""
    console.print("Coming up …", highlight=False)
    empty, imported = _import_seconds("pass"), _import_seconds(_IMPORT)
    first, again = _come_up(folder, "first"), _come_up(folder, "again")
    console.print(
        f"`python -c '{_IMPORT}'` {imported:.2f} s, of which the interpreter {empty:.2f} s;"
        f" `plinth up` {first:.1f} s on an empty data directory, {again:.1f} s on the same again",
        highlight=False,
    )
    return [
        Aim("`plinth up` on existing data until the edge answers", again, 8, "s", at_least=False),
        Aim(f"`python -c '{_IMPORT}'`", imported, 0.4, "s", at_least=False),
    ]


def _import_seconds(statement: str, *, times: int = 5) -> float:
    """Wall time of `python -c statement`, interpreter and all: the median, once the bytecode is there."""
    taken = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, env=own_environment(), timeout=_IMPORT_SECONDS)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[1:])


def _come_up(folder: Path, name: str) -> float:
    """Seconds from `plinth up` to the first answer through the edge."""
    port = free_port()
    argv = [sys.executable, "-m", "services.cli", "up", "--data-dir", str(folder / "data"), "--port", str(port)]
    # The keys come from identity, over gRPC, out of PostgreSQL: their answer has seen the whole mesh.
    program = Program(f"up-{name}", argv, answers(f"http://127.0.0.1:{port}/.well-known/jwks.json"), own_environment())
    child = Child(program, LogFile(folder / f"up-{name}.log"))
    begin = time.monotonic()
    child.start()
    try:
        wait_until_ready([child], begin + _START_SECONDS, lambda *_: None)
        return time.monotonic() - begin
    finally:
        child.stop(_STOP_SECONDS)
