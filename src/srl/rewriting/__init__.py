"""``srl rewrite``: solutions without steps -> numbered, titled steps, by asking an LLM (B.3 of the paper)."""
