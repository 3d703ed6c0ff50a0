"""A part of the bench, run alone."""

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
from rich.console import Console

from services.mesh.errors import MeshError
from tests.bench.cores import choose_cores, running_on
from tests.bench.h2load import BenchError
from tests.bench.report import WIDTH, Aim, print_aims
from tests.bench.rig import Rig


def run(name: str, measure: Callable[[Console, Rig], Sequence[Aim]], *, on_all_cores: bool = False) -> int:
    """Measure this on a rig of its own and print it. The exit code: 1 where it could not be measured."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix=f"plinth-bench-{name}-") as scratch:
        try:
            with opened(Path(scratch), on_all_cores=on_all_cores) as rig:
                print_aims(console, measure(console, rig))
        except (BenchError, MeshError) as error:
            console.print(f"[red]{type(error).__name__}[/]: {error}", markup=True, highlight=False)
            return 1
    return 0


@contextmanager
def opened(folder: Path, *, on_all_cores: bool = False) -> Iterator[Rig]:
    """A rig in a folder, which is made where it lacks; its PostgreSQL beside the server, or on all cores."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    cores = choose_cores()
    with running_on(*cores.all if on_all_cores else [cores.load]), Rig(folder, cores) as rig:
        yield rig
