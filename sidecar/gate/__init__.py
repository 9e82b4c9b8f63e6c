"""Rung 2: the gate page in shared memory, its writer and its reader."""
