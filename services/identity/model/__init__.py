"""The rules of identity, without I/O: passwords, sessions, throttling, links, keys."""
