"""The domains of Plinth, the kernel under them, and the processes that run them."""
