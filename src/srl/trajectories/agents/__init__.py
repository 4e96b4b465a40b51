"""Logs of coding agents -> Trajectory: one file per format.

``turns`` holds the decisions that are the same for all of them, ``messages`` reads chat messages, ``logs`` finds ids,
tasks and verdicts, ``actions`` writes tool calls as text.
"""
