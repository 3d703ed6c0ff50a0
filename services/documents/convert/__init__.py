"""Between the model of documents and protobuf messages, one module a kind of resource."""
