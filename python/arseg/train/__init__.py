"""Training: the loop, what it keeps, and the recipes."""
