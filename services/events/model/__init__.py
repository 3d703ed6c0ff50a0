"""What the events domain is about, without I/O."""
