"""The pure core: same inputs, same bytes. No clock, randomness, file, socket or logging lives here."""
