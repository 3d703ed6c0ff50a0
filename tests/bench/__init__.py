"""`make bench`: Plinth against a bare servicer and a peer, in one run on one machine; see docs/benchmarks.md."""
