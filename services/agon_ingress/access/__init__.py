"""Who asks, and what they may use: keys, limits, budgets."""
