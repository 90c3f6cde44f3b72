import os

# A board's matrices are small: threads of BLAS would wait for each other, and for a core, longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from agon_rating_compute.app import main

if __name__ == "__main__":
    main()
