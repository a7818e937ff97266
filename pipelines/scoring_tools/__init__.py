"""What the benchmark of scoring and the run with faults are made of. No pipeline itself."""
