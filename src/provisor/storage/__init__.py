"""The databases behind the ports of reading and of committing."""
