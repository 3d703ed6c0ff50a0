"""The domain `documents`: files with their versions, uploads, and the way from bytes to what can be found."""
