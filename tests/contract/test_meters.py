"""What is charged, as the contract says it: calls by their policies, and amounts by events."""

import re

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from plinth.options.v1 import meter_pb2
from services.domains import DOMAINS
from tests.contract.calls import METHODS

_INTEGERS = (
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
)


def _events(package: str) -> list[Descriptor]:
    path = f"{package.replace('.', '/')}/events.proto"
    return list(descriptor_pool.Default().FindFileByName(path).message_types_by_name.values())


METERED = [
    (event, meter)
    for domain in DOMAINS.values()
    for event in _events(domain.package)
    for meter in event.GetOptions().Extensions[meter_pb2.meters]
]


@pytest.mark.parametrize(("event", "meter"), METERED, ids=lambda one: getattr(one, "name", ""))
def test_a_meter_adds_up_a_number_of_its_event(event: Descriptor, meter: meter_pb2.Meter) -> None:
    field = event.fields_by_name[meter.field]
    assert field.type in _INTEGERS
    assert not field.is_repeated


def test_each_meter_is_of_its_own_domain_and_counts_either_calls_or_amounts() -> None:
    calls = {(policy.full_name.split(".")[1], policy.meter) for policy in METHODS if policy.meter}
    amounts = {(event.full_name.split(".")[1], meter.name) for event, meter in METERED}
    for domain, meter in calls | amounts:
        assert re.fullmatch(rf"{domain}\.[a-z_]+", meter)
    assert not {meter for _, meter in calls} & {meter for _, meter in amounts}
    assert {meter for _, meter in calls | amounts} == {
        "documents.uploads",
        "documents.bytes",
        "documents.pages",
        "search.queries",
    }
