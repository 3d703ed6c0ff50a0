"""The one chain that every call passes, and what carries calls between services."""
