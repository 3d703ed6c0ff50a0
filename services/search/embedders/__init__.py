"""Embedders: what turns text into vectors by a model that somebody else has trained. One port, and who is behind it."""
