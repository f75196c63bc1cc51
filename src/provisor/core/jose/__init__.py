"""Tokens and keys of RFC 7515 to 7519, as the clients of step-ca write them."""
