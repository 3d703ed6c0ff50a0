"""The domains of Plinth, the kernel under them, and the processes that run them."""

import os

# A process of ours works on many threads already, and BLAS would start one more for each core, which make a fit of
# vectors slower. It reads this when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
