"""The native kernels on random cases, against the reference scan: `python -m benchmarks.kernels random`."""
