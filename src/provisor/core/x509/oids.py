"""Object identifiers, as dotted text."""

from __future__ import annotations

# Attributes of a distinguished name (RFC 5280 section 4.1.2.4, X.520).
COMMON_NAME = "2.5.4.3"
SERIAL_NUMBER = "2.5.4.5"
COUNTRY = "2.5.4.6"
LOCALITY = "2.5.4.7"
PROVINCE = "2.5.4.8"
STREET_ADDRESS = "2.5.4.9"
ORGANIZATION = "2.5.4.10"
ORGANIZATIONAL_UNIT = "2.5.4.11"
POSTAL_CODE = "2.5.4.17"

# Extensions (RFC 5280 section 4.2).
SUBJECT_KEY_ID = "2.5.29.14"
KEY_USAGE = "2.5.29.15"
SUBJECT_ALT_NAME = "2.5.29.17"
BASIC_CONSTRAINTS = "2.5.29.19"
CRL_NUMBER = "2.5.29.20"
CRL_REASON = "2.5.29.21"
ISSUING_DISTRIBUTION_POINT = "2.5.29.28"
NAME_CONSTRAINTS = "2.5.29.30"
CERTIFICATE_POLICIES = "2.5.29.32"
AUTHORITY_KEY_ID = "2.5.29.35"
EXT_KEY_USAGE = "2.5.29.37"

PROVISIONER = "1.3.6.1.4.1.37476.9000.64.1"
"""Which provisioner a certificate came from: the extension that step-ca clients read."""

EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
"""The attribute of a signing request that holds the wanted extensions (RFC 2985 section 5.4.2)."""

# Purposes in an extended key usage (RFC 5280 section 4.2.1.12).
ANY_PURPOSE = "2.5.29.37.0"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

# Public keys.
EC_PUBLIC_KEY = "1.2.840.10045.2.1"
DSA_PUBLIC_KEY = "1.2.840.10040.4.1"
