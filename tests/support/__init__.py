"""What tests share: a database, a server with the real chain, and people who use it."""
