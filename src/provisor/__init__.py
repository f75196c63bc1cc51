"""Provisor: an online certificate authority for X.509 and SSH."""

__version__ = "0.2.0"
