"""The growing output on disk: shards that are known before they exist, and what an interrupted run left."""
