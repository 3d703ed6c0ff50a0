"""Where the bytes of documents lie: a port, a directory, a bucket, and encryption at rest around either."""
