"""What goes over the wire and into files: JSON as the reference reads and writes it, and typed bodies."""
