"""Tasks on real data: `python -m benchmarks.tasks trec`, `... all`, `... table`."""
