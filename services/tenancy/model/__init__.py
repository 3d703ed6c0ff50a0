"""The tenancy model: pure values and rules, without I/O."""
