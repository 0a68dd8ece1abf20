"""The kernels on random cases against the reference scan, and on very long sequences, as commands."""
