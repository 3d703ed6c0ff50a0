"""`make bench-search`: how good the answers are, on Cranfield or any collection in TREC form."""
