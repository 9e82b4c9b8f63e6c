"""Rung 4: the reconciliation process and its venue adapters."""
