"""Trading Sidecar: the control plane that stands beside automated trading processes."""

__version__ = "0.1.0"
