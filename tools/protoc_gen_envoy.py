"""protoc-gen-envoy: a buf plugin that writes Envoy's configuration, `envoy.json`, out of the contract.

What it makes, and the places that are filled in at start, are told in envoy_config.py; routes, retries and timeouts in
envoy_routes.py. A contract that cannot be generated from (a method without a policy) fails with a message. No options.
"""

from __future__ import annotations

import json
import sys

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

from tools.contract import ContractError, read
from tools.envoy_config import config


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """The configuration as one file, or the contract's faults as the response's error."""
    response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    try:
        made = config(read(request.proto_file, request.file_to_generate))
    except ContractError as fault:
        response.error = str(fault)
    else:
        response.file.add(name="envoy.json", content=json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    return response


if __name__ == "__main__":
    answer = generate(CodeGeneratorRequest.FromString(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(answer.SerializeToString())
