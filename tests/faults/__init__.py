"""Faults that tests put between processes: a TCP link that can be cut, stalled, halved and slowed."""
