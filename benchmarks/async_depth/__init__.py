"""A simulation of sub-calls: ways to ask, fixed and adaptive width, depth, size of the data."""
