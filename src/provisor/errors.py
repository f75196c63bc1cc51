"""Every way a request, a command or a start can fail, as one tree. Imports nothing of Provisor.

::

    ProvisorError(detail, public=None)     detail is for the log, public is for the caller
    ├── ConfigError                        ca.json or a file it names is wrong
    ├── Malformed                          cannot be read
    │   ├── BadRequest                     body, parameter or member
    │   ├── BadCSR                         certificate signing request
    │   ├── BadToken                       not a token at all
    │   ├── BadKey                         key material, PEM, JWK or JWE
    │   ├── TemplateRefused                the template said so itself, by `fail`
    │   └── TooLarge                       over one of the limits on strangers' input
    ├── Unauthenticated                    not proven
    │   ├── TokenInvalid                   signature, issuer, audience or a claim
    │   ├── TokenExpired                   its time is over, or has not come
    │   ├── TokenReused                    single use, and it was used
    │   ├── ProvisionerDisabled            configured, but it could not be initialised
    │   ├── CertificateRevoked             the credential itself is revoked
    │   ├── CertificateExpired             the credential's time is over
    │   ├── RenewTokenInvalid              bearer token of a renewal
    │   └── RenewIssuerInvalid             ... whose issuer claim is foreign
    ├── Forbidden                          proven, not allowed
    │   ├── NameNotAllowed
    │   ├── PolicyRefused                  a policy of the authority or the provisioner
    │   ├── NameConstrained                issuer name constraints (RFC 5280 section 4.2.1.10)
    │   ├── KeyNotAllowed
    │   ├── ValidityNotAllowed
    │   └── SubjectMismatch                token or certificate is for something else
    ├── NotFound
    ├── Conflict                           state says no
    │   └── AlreadyRevoked
    ├── NotSupported                       this CA does not do that
    ├── Unencodable                        the names cannot be put into a certificate
    ├── TemplateBroken                     a template does not parse, does not run, or renders no certificate
    ├── PolicyUndecided                    a policy cannot be asked about a name
    ├── RenewTokenRejected                 recorded as an internal error of the reference
    ├── CallFailed                         a request of the CA's own was not answered
    └── Unavailable                        something we need is away
        ├── StaleEpoch                     the configuration changed under the request
        └── OutcomeUnknown                 the commit was lost and cannot be looked up
"""

from __future__ import annotations


class ProvisorError(Exception):
    """Root of the tree.

    `detail` goes to the log and to `explain`; it may name internals, never a secret.
    `public` is the text for the caller: it names the thing, the rule and the remedy. Without it
    the caller gets the generic sentence of the status.
    """

    verbatim = False
    """The public text is the whole message, without the sentence that introduces its status."""

    def __init__(self, detail: str, *, public: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.public = public

    @property
    def code(self) -> str:
        """A stable word for logs, metrics and audit: the class name."""
        return type(self).__name__


class ConfigError(ProvisorError):
    """`where` is a pointer such as `ca.json: $.authority.provisioners[2].claims`."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}" if where else reason, public=reason)
        self.where = where
        self.reason = reason


class Malformed(ProvisorError):
    """What was sent cannot be read."""


class BadRequest(Malformed):
    """A body, parameter or member is missing or wrong."""

    def __init__(self, public: str, *, detail: str | None = None) -> None:
        super().__init__(detail or public, public=public)


class BadCSR(Malformed):
    """A certificate signing request cannot be read, or its signature is not its own."""


class BadToken(Malformed):
    """Not a JWS, or claims that are not what RFC 7519 says."""


class BadKey(Malformed):
    """Key material that cannot be read: PEM, JWK, JWE, wrong password."""


class TooLarge(Malformed):
    """Over a limit on strangers' input. `limit` says which one."""

    def __init__(self, limit: str, *, public: str | None = None) -> None:
        super().__init__(f"over the limit {limit}", public=public)
        self.limit = limit


class Unauthenticated(ProvisorError):
    """Who is asking is not proven."""


class TokenInvalid(Unauthenticated):
    """Signature, issuer, audience, subject or another claim is wrong."""


class TokenExpired(TokenInvalid):
    """The token's time is over or has not come."""


class TokenReused(Unauthenticated):
    """A token works once."""


class ProvisionerDisabled(Unauthenticated):
    """The provisioner could not be initialised, or a rule of it cannot be enforced by this version."""

    verbatim = True

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f'provisioner "{name}" is disabled: {reason}',
            public=f'provisioner "{name}" is disabled due to an initialization error',
        )


class CertificateRevoked(Unauthenticated):
    """The client certificate is revoked."""


class CertificateExpired(Unauthenticated):
    """The client certificate's time is over."""


class RenewTokenInvalid(Unauthenticated):
    """The bearer token of a renewal is not valid."""

    verbatim = True


class RenewIssuerInvalid(RenewTokenInvalid):
    """The bearer token's issuer is neither the client nor the provisioner."""


class Forbidden(ProvisorError):
    """Proven, but not allowed."""


class NameNotAllowed(Forbidden):
    """A name the grant, the policy or the request does not cover."""


class NameConstrained(NameNotAllowed):
    """A name the issuer's certificate forbids."""

    verbatim = True


class KeyNotAllowed(Forbidden):
    """A key of a kind or size the grant does not cover."""


class ValidityNotAllowed(Forbidden):
    """A window the grant or the issuer does not cover."""


class SubjectMismatch(Forbidden):
    """The credential is for another subject than the request."""


class NotFound(ProvisorError):
    """There is no such thing here."""

    verbatim = True


class Conflict(ProvisorError):
    """The state of the store says no."""


class AlreadyRevoked(Conflict):
    """The serial is in the revocation table already."""


class NotSupported(ProvisorError):
    """This CA, as it is configured, does not do that."""


class Unencodable(ProvisorError):
    """The names asked for cannot be encoded in a certificate."""


class RenewTokenRejected(ProvisorError):
    """A bearer token whose signature or audience is wrong: the reference answers an internal error."""

    verbatim = True


class Unavailable(ProvisorError):
    """Something we need is away: notary, store, key. `retry_after` is in seconds."""

    def __init__(self, detail: str, *, public: str | None = None, retry_after: int = 1) -> None:
        super().__init__(detail, public=public)
        self.retry_after = retry_after


class StaleEpoch(Unavailable):
    """The configuration changed under the request; it runs once more on the new one."""


class OutcomeUnknown(Unavailable):
    """The commit was lost and the store that knows its outcome is away."""


class TemplateRefused(Malformed):
    """The template refused by `fail`. Its message is meant for the caller."""

    def __init__(self, message: str) -> None:
        super().__init__(f"msg: {message}", public=message)


class TemplateBroken(ProvisorError):
    """A template does not parse, does not run on this data, or what it renders is no certificate."""

    verbatim = True


class PolicyUndecided(ProvisorError):
    """A policy cannot say anything of a name, because it is none."""

    verbatim = True


class PolicyRefused(Forbidden):
    """A policy does not allow a name."""

    verbatim = True

    def __init__(self, detail: str, text: str) -> None:
        super().__init__(detail, public=f"The request was forbidden by the certificate authority: {text}")


class CallFailed(ProvisorError):
    """A call that the CA sent was not answered. `final`: trying once more would be of no use."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final
