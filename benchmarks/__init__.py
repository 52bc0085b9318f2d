"""Claims of speed, a file for each, and one command that measures them: `python -m benchmarks`."""
