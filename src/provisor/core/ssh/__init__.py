"""SSH certificates, pure: what a template sees, what it renders, and the octets that makes.

The format is that of OpenSSH's PROTOCOL.certkeys.
"""
