"""MODEL as the user names it -> its weights, whole in memory or a part at a time from its files."""
