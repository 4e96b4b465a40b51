"""The saved rollouts of a run -> what its reward paid for; the command ``srl diagnose`` and a section of the report."""
