"""Supervised Reinforcement Learning: train small language models to reason from expert trajectories."""

__version__ = "0.1.0"
