"""Compiles tiny contracts, as buf hands them to a plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from tools import deps

Compile = Callable[[str], CodeGeneratorRequest]

HEADER = """
syntax = "proto3";
package plinth.pets.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/api/httpbody.proto";
import "google/api/resource.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "plinth/options/v1/policy.proto";
import "plinth/options/v1/text.proto";
"""


# Where grpcio-tools keeps the protos of google.protobuf.
WELL_KNOWN = Path(protoc.__file__).parent / "_proto"


class CompileError(Exception):
    """protoc refuses the text."""


def compile_text(text: str, folder: Path) -> CodeGeneratorRequest:
    """Compiles the body of a file in package plinth.pets.v1, as buf hands it to a plugin. Raises CompileError."""
    deps.gather()
    name = "plinth/pets/v1/pets.proto"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(HEADER + text)
    out = folder / "request.binpb"
    roots = [f"--proto_path={root}" for root in (folder, deps.ROOT / "proto", deps.PROTO, WELL_KNOWN)]
    # error_details is there as it is in the real image: without it, Envoy leaves the body of an error empty.
    wanted = [name, "google/rpc/error_details.proto"]
    options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={out}"]
    if protoc.main(["protoc", *roots, *options, *wanted]) != 0:
        raise CompileError(text)
    return CodeGeneratorRequest(file_to_generate=[name], proto_file=FileDescriptorSet.FromString(out.read_bytes()).file)


@pytest.fixture
def compile_proto(tmp_path: Path) -> Compile:
    """`compile_text` in a folder of the test's own."""
    return lambda text: compile_text(text, tmp_path)
