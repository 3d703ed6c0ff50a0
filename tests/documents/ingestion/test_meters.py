"""What is charged for documents: each amount in one event, whatever is done again."""

from collections import Counter

import pytest

from plinth.documents.v1 import events_pb2
from plinth.options.v1 import meter_pb2
from services.kernel.event_log import PostgresEventLog
from services.runtime import Runtime
from tests.documents.ingestion.workspace import IngestionWorkspace
from tests.documents.parsing.files import pdf
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("worker")]

_INDEXED = events_pb2.DocumentIndexed.DESCRIPTOR.full_name


def pages(count: int) -> bytes:
    return pdf([[(12, f"Page {number} of {count}")] for number in range(1, count + 1)])


def test_a_version_is_charged_once_however_often_it_is_processed(works: IngestionWorkspace, runtime: Runtime) -> None:
    first, second = pages(3), pages(2)
    document = works.shelf.create(first, name="contract.pdf")
    works.ended(document)
    works.reprocess(document)
    works.ended(document)
    works.shelf.create(second, name="contract.pdf")
    works.shelf.create(second, name="contract.pdf")
    works.ended(document)
    log = PostgresEventLog(runtime.database, runtime.database.connect)
    workspace_id = works.shelf.workspace_id

    def indexed() -> list[events_pb2.DocumentIndexed]:
        events = log.read(0, 1_000, workspace_id=workspace_id)
        return [events_pb2.DocumentIndexed.FromString(one.data) for one in events if one.data_schema == _INDEXED]

    until(lambda: len(indexed()) == 3, "the last version in the log")
    assert [(one.version, one.page_count, one.metered_pages) for one in indexed()] == [(1, 3, 3), (1, 3, 0), (2, 2, 2)]
    charged: Counter[str] = Counter()
    for event in log.read(0, 1_000, workspace_id=workspace_id):
        message = event.message()
        for meter in message.DESCRIPTOR.GetOptions().Extensions[meter_pb2.meters]:
            charged[meter.name] += getattr(message, meter.field)
    log.close()
    assert charged == {"documents.pages": 5, "documents.bytes": len(first) + len(second)}
