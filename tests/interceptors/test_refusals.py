"""What is refused, with which answer, and in which order (AIP-211); on threads and on the event loop."""

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.kernel.ids import new_id
from services.kernel.names import WORKSPACE
from tests.support.errors import refusal_of, refused
from tests.support.rigs import TIMEOUT, Rig
from tests.support.scratch import pb
from tests.support.world import bearer, note_of

TOO_LONG = "x" * 11


class TestOrder:
    """Each call breaks every rule from its own on, so that the first one broken answers."""

    def test_no_token_comes_before_all_else(self, either: Rig) -> None:
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            either.stub.GetNote(pb.AskOfNote(name="nonsense", text=TOO_LONG), timeout=TIMEOUT)

    def test_a_bad_token_comes_before_the_name(self, either: Rig) -> None:
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            either.stub.GetNote(
                pb.AskOfNote(name="nonsense", text=TOO_LONG), metadata=bearer("nonsense"), timeout=TIMEOUT
            )

    def test_a_name_that_does_not_parse_comes_before_access(self, either: Rig) -> None:
        person = either.world.person()
        for name in ("", "nonsense", "workspaces/1/notes/2", f"{note_of(new_id())}/", f"workspaces/{new_id()}"):
            with refused(StatusCode.INVALID_ARGUMENT, "NAME_INVALID") as refusal:
                either.stub.GetNote(pb.AskOfNote(name=name, text=TOO_LONG), metadata=person.metadata, timeout=TIMEOUT)
            assert refusal.fields == ["name"]
            assert refusal.told == ["must be a resource name of the form workspaces/{uuid}/notes/{uuid}"]

    def test_names_of_two_workspaces_do_not_go_together(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.write")
        request = pb.AskToMove(name=note_of(new_id()), parent=WORKSPACE.format(workspace=workspace))
        with refused(StatusCode.INVALID_ARGUMENT, "NAME_INVALID") as refusal:
            either.stub.MoveNote(request, metadata=person.metadata, timeout=TIMEOUT)
        assert refusal.fields == ["parent"]
        assert refusal.told == ["must be in the workspace that the other names are in"]

    def test_a_workspace_of_others_is_not_found_whatever_the_fields(self, either: Rig) -> None:
        person, name = either.world.person(), note_of(new_id())
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND") as refusal:
            either.stub.GetNote(pb.AskOfNote(name=name, text=TOO_LONG), metadata=person.metadata, timeout=TIMEOUT)
        assert refusal.metadata == {"resource": name}

    def test_a_missing_permission_comes_before_the_fields(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.write")
        with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED") as refusal:
            either.stub.GetNote(
                pb.AskOfNote(name=note_of(workspace), text=TOO_LONG), metadata=person.metadata, timeout=TIMEOUT
            )
        assert refusal.metadata == {"permission": "notes.read"}

    def test_bad_fields_come_last_and_all_at_once(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            either.stub.GetNote(
                pb.AskOfNote(name=note_of(workspace), text=TOO_LONG, count=-1),
                metadata=person.metadata,
                timeout=TIMEOUT,
            )
        assert refusal.fields == ["text", "count"]
        assert either.servicer.called == []

    def test_what_breaks_no_rule_is_let_in(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        answer = either.stub.GetNote(
            pb.AskOfNote(name=note_of(workspace), text="hello"), metadata=person.metadata, timeout=TIMEOUT
        )
        assert answer.text == "hello"
        assert either.servicer.called == ["GetNote"]


class TestKinds:
    def test_anyone_may_call_a_public_method_and_is_nobody_there(self, either: Rig) -> None:
        assert either.stub.Ping(pb.Ask(text="a"), timeout=TIMEOUT).text == "a"
        assert either.stub.Ping(pb.Ask(text="b"), metadata=bearer("rubbish"), timeout=TIMEOUT).text == "b"
        assert [line["principal"] for line in either.log] == ["", ""]

    def test_who_is_signed_in_may_call_an_authenticated_method(self, either: Rig) -> None:
        person = either.world.person()
        either.stub.GetSelf(pb.Ask(), metadata=person.metadata, timeout=TIMEOUT)
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            either.stub.GetSelf(pb.Ask(), timeout=TIMEOUT)

    def test_where_it_names_a_workspace_a_member_of_it(self, either: Rig) -> None:
        workspace, member = either.world.member()
        ask = pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace))
        either.stub.Visit(ask, metadata=member.metadata, timeout=TIMEOUT)
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            either.stub.Visit(ask, metadata=either.world.person().metadata, timeout=TIMEOUT)

    def test_operators_only_may_call_an_operators_method(self, either: Rig) -> None:
        operator, person = either.world.person(operator=True), either.world.person()
        either.stub.Operate(pb.Ask(), metadata=operator.metadata, timeout=TIMEOUT)
        with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
            either.stub.Operate(pb.Ask(), metadata=person.metadata, timeout=TIMEOUT)
        either.world.promote(person)
        either.stub.Operate(pb.Ask(), metadata=person.metadata, timeout=TIMEOUT)

    def test_a_stream_is_refused_like_a_call(self, either: Rig) -> None:
        _, stranger = either.world.member("notes.read")
        ask = pb.AskOfNote(name=note_of(new_id()), count=3)
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            list(either.stub.Count(ask, timeout=TIMEOUT))
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            list(either.stub.Count(ask, metadata=stranger.metadata, timeout=TIMEOUT))
        assert either.servicer.called == []


def _varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


class TestMalformed:
    @pytest.mark.parametrize("rubbish", [b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", b"rubbish"])
    def test_bytes_that_are_no_message_are_an_invalid_argument(self, either: Rig, rubbish: bytes) -> None:
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
            either.raw("Ping", rubbish, [])
        assert either.servicer.called == []

    def test_of_nobody_they_are_not_even_looked_at(self, either: Rig) -> None:
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            either.raw("GetNote", b"\xff", [])

    def test_fields_of_another_release_are_let_be(self, either: Rig) -> None:
        assert either.raw("Ping", b"\x0a\x01a\xd2\x0f\x03new", []) == pb.Answer(text="a").SerializeToString()

    def test_violations_name_the_field_inside_a_list(self, either: Rig) -> None:
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            either.stub.Ping(pb.Ask(items=[pb.Item(label="ok"), pb.Item(label="too long")]), timeout=TIMEOUT)
        assert refusal.fields == ["items[1].label"]

    def test_violations_name_the_field_around_ever_so_long_a_key(self, either: Rig) -> None:
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            either.stub.Ping(pb.Ask(facts={"x" * 100_000: ""}), timeout=TIMEOUT)
        assert refusal.fields == [f"facts[{'x' * 64}]"]

    @pytest.mark.parametrize(("method", "largest"), [("Attempt", 1000), ("Ping", 4 << 20)])
    def test_more_than_the_method_takes_is_an_invalid_argument(self, either: Rig, method: str, largest: int) -> None:
        # A field that nobody knows counts like any other: its number, its length, and what it says.
        padding = b"\xfa\x3e" + _varint(largest) + b"x" * largest
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            either.raw(method, padding, [])
        assert refusal.fields == [""]
        overhead = len(padding) - largest
        either.raw(method, b"\xfa\x3e" + _varint(largest - overhead) + b"x" * (largest - overhead), [])

    def test_ever_so_many_violations_make_no_answer_too_large_to_send(self, either: Rig) -> None:
        items = [pb.Item(label="much too long") for _ in range(1000)]
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
            either.stub.Ping(pb.Ask(items=items), timeout=TIMEOUT)


class TestWithoutPolicy:
    def test_a_method_that_states_none_is_denied(self, either: Rig) -> None:
        for metadata in ([], either.world.person(operator=True).metadata):
            with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
                either.raw("Nothing", b"", metadata, service="plinth.scratch.v1.UnstatedService")

    def test_health_answers_anyone(self, either: Rig) -> None:
        assert either.channel is not None
        stub = health_pb2_grpc.HealthStub(either.channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    def test_a_method_that_is_not_there_is_unimplemented(self, either: Rig) -> None:
        with pytest.raises(grpc.RpcError) as raised:
            either.raw("NoSuchMethod", b"", [])
        assert refusal_of(raised.value).code is StatusCode.UNIMPLEMENTED
