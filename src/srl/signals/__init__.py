"""The rollouts of an update -> signs that the reward pays for something else than the expert's next step."""
