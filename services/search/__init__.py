"""Search over what documents hold: the index that is filled, and the queries that it answers: the domain `search`."""
