"""Between search and its protobuf messages."""
