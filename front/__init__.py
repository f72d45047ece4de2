"""The front of the house: what a stranger meets first, over all three packages. Only cli.py imports it."""
