"""The client of an endpoint: streamed requests, the greedy check, constant load."""
