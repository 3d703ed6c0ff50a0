"""How the stages are put together, where no worker is needed to see it."""

import os
from pathlib import Path
from typing import Any

import pytest

from services.documents.model.parsed import Parsed
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.limits import Limits
from services.documents.parsing.pool import ParserPool
from services.documents.service import DocumentsServices, StageReport, build_ingester, pipeline
from services.documents.service.slots import Slots
from services.kernel.caller import Caller
from services.runtime import Runtime
from tests.documents.attempts import attempt_at
from tests.documents.shelf import Shelf
from tests.support.acting import acting


def test_a_file_that_has_arrived_is_not_too_large_to_be_read(
    shelf: Shelf, services: DocumentsServices, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Limits] = []

    def parse(pool: ParserPool, path: Path, media_type: str, limits: Limits, **_: object) -> Parsed:
        told.append(limits)
        raise ParseFailed(Reason.CORRUPT, "It is damaged.")

    monkeypatch.setattr(ParserPool, "parse", parse)
    settings = runtime.settings.model_copy(update={"max_upload_bytes": 2**40})
    no_index: Any = None
    slots = Slots(1)
    report = StageReport(slots.state)
    one = build_ingester(services, runtime.clock, settings, no_index, slots, report)
    document = shelf.create()
    with acting(Caller(service="documents", workspace_id=shelf.workspace_id)):
        one.ingest(attempt_at(document.ingestion, 1))
    assert [limits.file_bytes for limits in told] == [2**40]


def test_a_file_that_is_kept_encrypted_is_not_written_to_the_disk_to_be_read() -> None:
    with pipeline._nameless_file(in_memory=True) as file:
        assert os.readlink(f"/proc/self/fd/{file.fileno()}").startswith("/memfd:")
