"""protoc-gen-openapi: a buf plugin that writes the OpenAPI 3.1 document, `openapi.json`, out of the contract.

Operations and errors are made in openapi_document.py, paths and parameters in openapi_paths.py, schemas in
openapi_schemas.py, and bounds out of protovalidate's rules in openapi_rules.py. No options.
"""

from __future__ import annotations

import json
import sys

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

from tools.contract import ContractError, read
from tools.openapi_document import document


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """The document as one file, or the contract's faults as the response's error."""
    response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    try:
        made = document(read(request.proto_file, request.file_to_generate))
    except ContractError as fault:
        response.error = str(fault)
    else:
        response.file.add(name="openapi.json", content=json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    return response


if __name__ == "__main__":
    answer = generate(CodeGeneratorRequest.FromString(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(answer.SerializeToString())
