"""What the encoder's tests need of their process."""

import os

# Before numpy is loaded: on a busy machine OpenBLAS is ten times slower with a thread for each core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
