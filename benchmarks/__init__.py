"""What the claims in docs/results.md run on. Each file is one measurement: python -m benchmarks.<name>."""
