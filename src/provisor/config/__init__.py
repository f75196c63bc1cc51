"""ca.json: its shape, its defaults, reading it with all faults at once, and editing it."""
