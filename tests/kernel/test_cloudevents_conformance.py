"""The cases of cloudevents/conformance, which are kept out of this tree: PLINTH_CASES says where they are."""

import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.kernel.cloudevents import (
    NotACloudEvent,
    decode_json,
    decode_json_batch,
    encode_json,
    encode_json_batch,
)
from services.kernel.cloudevents_protobuf import (
    decode_protobuf,
    decode_protobuf_batch,
    encode_protobuf,
    encode_protobuf_batch,
)

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("PLINTH_CASES", ROOT.parent / "shared" / "data")) / "cloudevents"

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason=f"the cases of cloudevents/conformance are not in {CASES}: set PLINTH_CASES"
)


def cases(file: str, member: str) -> list[Any]:
    """What the cases of a file hold; none where the file is absent, which the mark above tells."""
    path = CASES / f"{file}.json"
    tests = json.loads(path.read_text())["tests"] if path.exists() else []
    return [pytest.param(test[member], id=test["id"]) for test in tests]


def stated(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what it says is not there, and its time, which is the same in all of them, as we write it."""
    members = {name: value for name, value in event.items() if value is not None}
    return members | ({"time": "2018-04-05T17:31:00Z"} if "time" in members else {})


@pytest.mark.parametrize("event", cases("valid-events", "event"))
def test_a_valid_event_is_read_and_told_again_as_it_was(event: dict[str, Any]) -> None:
    read = decode_json(orjson.dumps(event))
    assert orjson.loads(encode_json(read)) == stated(event)
    assert decode_protobuf(encode_protobuf(read)) == read


@pytest.mark.parametrize("event", cases("invalid-events", "event"))
def test_an_invalid_event_is_refused(event: Any) -> None:
    with pytest.raises(NotACloudEvent):
        decode_json(orjson.dumps(event))


@pytest.mark.parametrize("batch", cases("valid-batches", "batch"))
def test_a_valid_batch_is_read_and_told_again_as_it_was(batch: list[dict[str, Any]]) -> None:
    read = decode_json_batch(orjson.dumps(batch))
    assert orjson.loads(encode_json_batch(read)) == [stated(event) for event in batch]
    assert decode_protobuf_batch(encode_protobuf_batch(read)) == read


@pytest.mark.parametrize("batch", cases("invalid-batches", "batch"))
def test_an_invalid_batch_is_refused(batch: Any) -> None:
    with pytest.raises(NotACloudEvent):
        decode_json_batch(orjson.dumps(batch))
