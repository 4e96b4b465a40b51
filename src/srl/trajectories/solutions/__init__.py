"""Written solutions -> Trajectory: one file per format."""
