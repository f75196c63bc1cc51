"""The server: bytes from the network to calls, and back."""
