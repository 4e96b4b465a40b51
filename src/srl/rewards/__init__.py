"""Rewards: functions on texts, one file each."""
