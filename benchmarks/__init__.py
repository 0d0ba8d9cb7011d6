"""Side by side with other libraries: `python -m benchmarks` measures, prints a table and writes RESULTS.md."""
