"""The rules of documents: their versions, uploads, ingestions, and how a text is cut. Pure Python."""
