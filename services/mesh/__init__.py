"""The mesh on one machine: its processes, and who looks after them."""
