"""Ingestion beside markitdown's own command line, on the same files and cores; and what a worker's memory does.

`python -m tests.bench.ingestion` runs this alone; with `--documents 10000` it watches the memory for as many.
"""

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
from rich.console import Console
from rich.table import Column, Table

from plinth.documents.v1 import document_pb2, document_service_pb2
from services.kernel.names import WORKSPACE
from tests.bench import alone
from tests.bench.h2load import BenchError
from tests.bench.report import Aim
from tests.bench.rig import SAMPLED, Rig, Server
from tests.bench.world import World, settle
from tests.support.stubs import Stubs, with_token

_ROOT = Path(__file__).parents[2]
FILES = Path(os.environ.get("PLINTH_CASES", _ROOT.parent / "shared" / "data")) / "documents"
COPIES, DOCUMENTS = 4, 500
# A worker has two parsers where nobody says otherwise.
_PROCESSES = 2
_UPLOADS = 4
_TENTHS = 10
_PATIENCE, _LOOK_SECONDS, _SAMPLE_SECONDS = 600.0, 0.02, 0.2
_NO_TEXT = ".bin"
_ENDED = """
    select count(*) filter (where state in ('indexed', 'completed_with_warnings')),
        count(*) filter (where state in ('dead', 'cancelled'))
    from documents.ingestions where workspace_id = %s"""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is uploaded."""

    name: str
    content: bytes


def measured(console: Console, rig: Rig, *, copies: int = COPIES, documents: int = DOCUMENTS) -> list[Aim]:
    """All of it, on a rig whose PostgreSQL has all cores. Raises BenchError."""
    if not FILES.is_dir():
        console.print(f"\nIngestion is not measured: there are no files in {FILES}; set PLINTH_CASES.", highlight=False)
        return []
    originals = [path for path in sorted(FILES.iterdir()) if path.suffix != _NO_TEXT]
    batch = [altered(path, number) for number in range(copies) for path in originals]
    console.print(
        f"\nIngestion of {len(batch)} files, and by markitdown, {_PROCESSES} processes at once …", highlight=False
    )
    plinth = rig.plinth(SAMPLED)
    world = settle(plinth.address, rig.app_url)
    worker = rig.beside("worker", *rig.cores.all)
    with (
        grpc.insecure_channel(plinth.address) as channel,
        psycopg.connect(rig.owner_url, autocommit=True) as owner,
    ):
        line = _Line(Stubs(with_token(channel, world.token)), owner, world)
        # Its parsers are up then, as those of a worker that has been running for a while.
        line.through([File(path.name, path.read_bytes()) for path in originals])
        ours = len(batch) / line.through(batch)
        theirs = len(batch) / _markitdown(rig, batch)
        console.print(f"{ours:.1f} documents a second, markitdown {theirs:.2f}.", highlight=False)
        memory = _memory(console, line, worker, originals, copies, documents)
    return [Aim("documents ingested, against markitdown's command line", ours / theirs, 3, "×"), *memory]


class _Line:
    """The way of files from an upload until they can be found."""

    def __init__(self, stubs: Stubs, owner: "psycopg.Connection[Any]", world: World) -> None:
        self._stubs = stubs
        self._owner = owner
        self._workspace = world.workspace
        [self._workspace_id] = WORKSPACE.ids(world.workspace)
        self._uploaded = 0

    def through(self, files: Sequence[File]) -> float:
        """Upload these, several at once, and wait until all are indexed: the seconds it took. Raises BenchError."""
        begun = time.monotonic()
        self._uploaded += len(files)
        with ThreadPoolExecutor(_UPLOADS) as uploads:
            for _ in uploads.map(self._upload, files):
                pass
        while (left := self._uploaded - self._indexed()) > 0:
            if time.monotonic() - begun > _PATIENCE:
                raise BenchError(f"{left} documents are not indexed after {_PATIENCE:.0f} s")
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - begun

    def _upload(self, file: File) -> None:
        document = document_pb2.Document(display_name=file.name, content=file.content)
        self._stubs.documents.CreateDocument(
            document_service_pb2.CreateDocumentRequest(parent=self._workspace, document=document)
        )

    def _indexed(self) -> int:
        indexed, failed = self._owner.execute(_ENDED, [self._workspace_id]).fetchone() or (0, 0)
        if failed:
            raise BenchError(f"{failed} documents could not be ingested")
        return int(indexed)


def _markitdown(rig: Rig, files: Iterable[File]) -> float:
    """The seconds that its command line takes, called for each file. Raises BenchError."""
    command = Path(sys.executable).with_name("markitdown")
    if not command.exists():
        raise BenchError("markitdown is not installed: `make bench` installs it")
    folder = rig.folder / "files"
    folder.mkdir()
    for file in files:
        (folder / file.name).write_bytes(file.content)

    def convert(path: Path) -> None:
        argv: list[str | Path] = [command, path, "-o", path.with_suffix(f"{path.suffix}.out")]
        done = subprocess.run(argv, check=False, capture_output=True)
        if done.returncode:
            raise BenchError(f"markitdown fails at {path.name}: {done.stderr.decode()[-500:]}")

    paths = sorted(folder.iterdir())
    convert(paths[0])
    begun = time.monotonic()
    with ThreadPoolExecutor(_PROCESSES) as processes:
        for _ in processes.map(convert, paths):
            pass
    return time.monotonic() - begun


def _memory(
    console: Console, line: _Line, worker: Server, originals: Sequence[Path], done: int, documents: int
) -> list[Aim]:
    """What the worker has in memory during each tenth of so many documents: mostly, and at most.

    What it has at most is that of a moment: of a large file, of a merge of the index.
    """
    console.print(f"A worker's memory over {documents:,} documents …", highlight=False)
    columns = ("seconds", "MiB of the worker", "at most")
    table = Table("documents", *(Column(name, justify="right") for name in columns))
    each, usual = max(documents // _TENTHS, 1), list[float]()
    for tenth in range(_TENTHS):
        numbers = range(tenth * each, (tenth + 1) * each)
        with _sampled(worker.pid) as samples:
            took = line.through([altered(originals[number % len(originals)], done + number) for number in numbers])
        usual.append(statistics.median(samples))
        table.add_row(f"{numbers.stop:,}", f"{took:.1f}", f"{usual[-1]:.0f}", f"{max(samples):.0f}")
    console.print(table)
    return [
        Aim(
            f"a worker's memory at the last tenth of {_TENTHS * each:,} documents, against the second",
            usual[-1] / usual[1],
            1.1,
            "×",
            at_least=False,
        )
    ]


def altered(path: Path, number: int) -> File:
    """The file with other bytes and, as good as, the same text."""
    name, content = f"{path.stem}-{number}{path.suffix}", path.read_bytes()
    if zipfile.is_zipfile(path):
        return File(name, _commented(content, f"copy {number}".encode()))
    if path.suffix == ".pdf":
        return File(name, content + f"\n%% copy {number}\n".encode())
    return File(name, content + f"\nCopy {number}\n".encode())


def _commented(archive: bytes, comment: bytes) -> bytes:
    """A ZIP archive with this comment behind it, which had none."""
    return archive[:-2] + len(comment).to_bytes(2, "little") + comment


@contextmanager
def _sampled(pid: int) -> Iterator[list[float]]:
    """What the process has in memory, in MiB, looked at again and again until this is left."""
    samples, ended = [_resident(pid)], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            samples.append(_resident(pid))

    with ThreadPoolExecutor(1) as sampler:
        sampling = sampler.submit(sample)
        try:
            yield samples
        finally:
            ended.set()
        sampling.result()


def _resident(pid: int) -> float:
    """What the process has in memory, in MiB: proc_pid_status(5). Raises BenchError where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError as error:
        raise BenchError(f"process {pid} has ended") from error
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {pid} tells nothing of its memory")


def main(argv: Sequence[str] | None = None) -> int:
    """Only this. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingestion", description=__doc__)
    parser.add_argument("--copies", type=int, default=COPIES, help="of each file, to be ingested and converted")
    parser.add_argument(
        "--documents", type=int, default=DOCUMENTS, help="over which the worker's memory is watched, ten at least"
    )
    arguments = parser.parse_args(argv)

    def measure(console: Console, rig: Rig) -> Sequence[Aim]:
        return measured(console, rig, copies=arguments.copies, documents=arguments.documents)

    return alone.run("ingestion", measure, on_all_cores=True)


if __name__ == "__main__":
    sys.exit(main())
