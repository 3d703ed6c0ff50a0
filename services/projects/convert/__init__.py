"""Between the model of projects and its protobuf messages, one module a resource."""
