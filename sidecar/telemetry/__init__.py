"""Rung 2: logs, metrics and the health endpoint of every process."""
