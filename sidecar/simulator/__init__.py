"""Rung 4: the same core in virtual time, with faults and invariants."""
