"""Rung 4: the sidecar process: heartbeats, lease, gate, local interface."""

from sidecar.agent.process import Agent

__all__ = ["Agent"]
