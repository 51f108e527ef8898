"""Memory and time of a recovery from shapes alone; the recipes that come with it."""
