"""What every domain may use. Knows no domain, no gRPC and no generated stubs."""
