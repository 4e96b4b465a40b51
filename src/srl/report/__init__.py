"""Run folder -> one self-contained HTML page."""
