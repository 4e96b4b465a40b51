"""An agent's task in a real shell: chores in a temporary folder, an expert, a corpus, a base, and the environment."""
