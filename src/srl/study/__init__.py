"""A grid of methods x seeds on one task, base and budget -> rows -> tables with intervals, curves and a report."""
