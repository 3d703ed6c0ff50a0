"""Identity: who the users are, how they prove it, and the tokens and keys that say so."""
