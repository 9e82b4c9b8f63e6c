"""How long failover takes, and whether two ever hold one slot: real processes, real signals, a real broker."""
