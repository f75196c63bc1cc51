"""X.509: requests read, certificates and CRLs built, checked and encoded. RFC 5280, RFC 2986."""
