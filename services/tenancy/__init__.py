"""Who works together, in which role, and what was done there: the domain `tenancy`."""
