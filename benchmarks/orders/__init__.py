"""Orders through pre-commit beside what the broker itself costs: `python -m benchmarks.orders`."""
