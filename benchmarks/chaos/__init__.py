"""What a real cluster of three can suffer, done to it on purpose, and what must be true afterwards."""
