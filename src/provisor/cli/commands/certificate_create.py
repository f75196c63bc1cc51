"""`certificate create`: a key, and a certificate or a signing request for it, without a CA's help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from provisor.cli import exits, files, keys, output, userdata
from provisor.cli.certificates import newkeys, reading
from provisor.cli.certificates.making import IssuingPair, Profile, Wanted, is_pair, make_certificate
from provisor.cli.certificates.validity import DAY, TEN_YEARS, Window, window_from
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.files import Output
from provisor.cli.grammar import Call, command, switch, text, texts, unbuilt
from provisor.client.csr import csr_pem, make_csr
from provisor.core.keys import PrivateKey, PublicKey, spki_der
from provisor.core.names import Name, classify_sans
from provisor.core.pem import encode_pem
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.name import encode_common_name
from provisor.core.x509.request import parse_csr
from provisor.errors import ProvisorError

_PROFILES = (Profile.LEAF, Profile.INTERMEDIATE, Profile.ROOT, Profile.SELF_SIGNED)
_NOT_FOR_REQUESTS = ("ca", "ca-key", "ca-password-file", "bundle", "not-before", "not-after")


@command(
    "certificate create",
    usage="<subject> <crt-file> <key-file>",
    flags=(
        common.KTY,
        common.SIZE,
        common.CURVE,
        switch("csr", help="make a signing request, not a certificate"),
        text(
            "profile",
            help="leaf, intermediate-ca, root-ca or self-signed (which needs --subtle)",
            default=Profile.LEAF,
            metavar="profile",
        ),
        common.NOT_BEFORE,
        common.NOT_AFTER,
        texts("san", metavar="dns|ip|email|uri", help="a name for the certificate; the subject when there is none"),
        text("ca", metavar="file", help="certificate of the authority that signs"),
        text("ca-key", metavar="file", help="key of the authority that signs"),
        text("ca-password-file", metavar="file", help="file with the password of the authority's key"),
        text("key", metavar="file", help="use this key instead of a new one; a public one can be certified as well"),
        text("password-file", metavar="file", help="file with the password of the new key, or of that of --key"),
        switch("no-password", help="write the key unencrypted; needs --insecure"),
        switch("bundle", help="put the authority's certificate behind the leaf"),
        switch("skip-csr-signature", help="do not let the new key sign first, as for a public key"),
        common.FORCE,
        switch("subtle", help="allow what is rarely meant"),
        switch("insecure", help="allow unencrypted keys and RSA keys below 2048 bits"),
        text("template", metavar="file", help="make the certificate from this template, signed by itself without --ca"),
        common.SET,
        common.SET_FILE,
        unbuilt("kms"),
        unbuilt("ca-kms"),
    ),
    least=2,
    most=3,
    reads_defaults=False,
)
def create(call: Call) -> None:
    """create a certificate or a signing request

    The key file gets the new key, under a password unless --no-password is given. With --key there is a key already;
    then the key file may be left out. Leaves are valid for a day, authorities for ten years.
    """
    subject, crt_file, key_file = _arguments(call)
    newkeys.check_no_password(call)
    wants_request = call.switch("csr")
    profile = _check_flags(call, wants_request=wants_request)
    key = newkeys.new_or_given_key(call)
    names = classify_sans(call.texts("san") or (subject,))
    try:
        content = (
            _request(call, key, subject, names) if wants_request else _certificate(call, key, subject, names, profile)
        )
    except ProvisorError as error:
        # step-ca: makes a request first, unless it is told not to
        what = "certificate" if call.switch("skip-csr-signature") else "certificate request"
        raise CommandError(f"error creating {what}: {error.detail}") from error
    _write(call, crt_file, content, key_file, key)
    output.note(
        f"Your {'certificate signing request' if wants_request else 'certificate'} has been saved in {crt_file}."
    )
    if key_file and not isinstance(key, PublicKey):
        output.note(f"Your private key has been saved in {key_file}.")


def _arguments(call: Call) -> tuple[str, str, str]:
    """Subject, certificate file and key file, which is empty if there is none. Raises `CommandError`."""
    subject, crt_file, *rest = call.arguments
    usage = f"{call.command} <subject> <crt-file> <key-file>"
    if not rest and not call.text("key"):
        raise CommandError(f"not enough positional arguments were provided in '{usage}'")
    key_file = rest[0] if rest else ""
    if crt_file == key_file:
        # step-ca: brackets twice
        raise CommandError(f"positional arguments <<crt-file>> and <<key-file>> cannot be equal in '{usage}'")
    return subject, crt_file, key_file


def _check_flags(call: Call, *, wants_request: bool) -> Profile:
    """The profile; raises `CommandError` for what does not go together."""
    if wants_request:
        if call.switch("skip-csr-signature"):
            raise exits.incompatible_flags("csr", "skip-csr-signature")
        for flag in _NOT_FOR_REQUESTS:
            if _is_asked(call, flag):
                raise exits.incompatible_flags(flag, "csr")
        if call.is_set("profile") and call.text("profile") != Profile.LEAF:
            raise exits.incompatible_flags("profile", "csr")
        if call.text("template"):
            raise CommandError("flag '--template' makes certificates, and no signing requests, in this version")
        return Profile.LEAF
    if call.text("template"):
        return _check_template_flags(call)
    try:
        profile = Profile(call.text("profile"))
    except ValueError:
        raise exits.invalid_value(call.text("profile"), "profile", _PROFILES) from None
    if profile not in _PROFILES:
        raise exits.invalid_value(profile, "profile", _PROFILES)
    if profile in (Profile.LEAF, Profile.INTERMEDIATE):
        for flag in ("ca", "ca-key"):
            if not call.text(flag):
                raise CommandError(f"'--profile {profile}' requires the '--{flag}' flag")
    else:
        _refuse_for_profile(call, profile, "ca", "ca-key")
    if profile is not Profile.LEAF:
        _refuse_for_profile(call, profile, "bundle")
    if profile is Profile.SELF_SIGNED and not call.switch("subtle"):
        raise CommandError(f"'--profile {profile}' requires the '--subtle' flag")
    return profile


def _check_template_flags(call: Call) -> Profile:
    if call.is_set("profile"):
        raise exits.incompatible_flags("profile", "template")
    for one, other in (("ca", "ca-key"), ("ca-key", "ca")):
        if call.text(one) and not call.text(other):
            raise CommandError(f"flag '--{one}' requires the '--{other}' flag")
    return Profile.LEAF if call.text("ca") else Profile.SELF_SIGNED


def _is_asked(call: Call, flag: str) -> bool:
    """With a value, and not only switched off."""
    return call.switch(flag) if flag == "bundle" else bool(call.text(flag))


def _refuse_for_profile(call: Call, profile: Profile, *flags: str) -> None:
    for flag in flags:
        if _is_asked(call, flag):
            raise CommandError(f"flag '--{flag}' is incompatible with flag '--profile {profile}'")


def _request(call: Call, key: PrivateKey | PublicKey, subject: str, names: Sequence[Name]) -> str:
    if isinstance(key, PublicKey):
        raise CommandError("invalid value for flag --key: a private key is required")
    return csr_pem(make_csr(key, subject, names))


def _certificate(
    call: Call, key: PrivateKey | PublicKey, subject: str, names: tuple[Name, ...], profile: Profile
) -> str:
    if isinstance(key, PublicKey) and not call.switch("skip-csr-signature"):
        raise CommandError("flag '--skip-csr-signature' is required with a public key")
    is_authority = profile in (Profile.ROOT, Profile.INTERMEDIATE)
    window = window_from(call, TEN_YEARS if is_authority else DAY, datetime.now(UTC), refuse_expired=True)
    issuer = _issuer(call, key, profile)
    if call.text("template"):
        ders = [_from_template(call, key, subject, names, window, issuer)]
    else:
        ders = [_by_profile(key, subject, names, profile, window, issuer)]
    if call.switch("bundle") and issuer.certificate is not None:
        ders.append(issuer.certificate.der)
    return "".join(encode_pem("CERTIFICATE", der) for der in ders)


def _from_template(
    call: Call,
    key: PrivateKey | PublicKey,
    subject: str,
    names: tuple[Name, ...],
    window: Window,
    issuer: IssuingPair,
) -> bytes:
    if isinstance(key, PublicKey):
        raise CommandError("flag '--template' needs a private key in this version: the template sees a signing request")
    from provisor.cli.certificates.templated import make_from_template  # only those who ask for it wait for it

    return make_from_template(
        call.text("template"),
        subject=subject,
        names=names,
        user=userdata.user_data(call),
        request=parse_csr(make_csr(key, subject, names)),
        window=window,
        issuer=issuer,
    )


def _by_profile(
    key: PrivateKey | PublicKey,
    subject: str,
    names: tuple[Name, ...],
    profile: Profile,
    window: Window,
    issuer: IssuingPair,
) -> bytes:
    is_authority = profile in (Profile.ROOT, Profile.INTERMEDIATE)
    wanted = Wanted(
        profile=profile,
        subject=encode_common_name(subject),
        spki=spki_der(key if isinstance(key, PublicKey) else key.public_key()),
        window=window,
        names=() if is_authority else names,
        path_length=1 if profile is Profile.ROOT else 0,
    )
    return make_certificate(wanted, issuer)


def _issuer(call: Call, key: PrivateKey | PublicKey, profile: Profile) -> IssuingPair:
    if profile in (Profile.ROOT, Profile.SELF_SIGNED):
        if isinstance(key, PublicKey):
            raise CommandError(
                f"error creating certificate: the profile {profile} needs a private key, for it signs itself"
            )
        return IssuingPair(key)
    certificate = reading.read_certificate(call.text("ca"))
    return IssuingPair(_issuing_key(call, certificate), certificate)


def _issuing_key(call: Call, certificate: Certificate) -> PrivateKey:
    password, flag = keys.password_from(call, "ca-password-file")
    key = reading.read_private_key(call.text("ca-key"), password, flag=flag)
    if not is_pair(certificate, key):
        raise CommandError("error creating certificate: x509: provided PrivateKey doesn't match parent's PublicKey")
    return key


def _write(call: Call, crt_file: str, content: str, key_file: str, key: PrivateKey | PublicKey) -> None:
    """Both files or none. A public key is not written again."""
    outputs = [Output(crt_file, content.encode())]
    if key_file and not isinstance(key, PublicKey):
        outputs.insert(0, Output(key_file, newkeys.encode_new_key(call, key)))
        _check_writable(call, key_file, {"file is a directory": f"open {key_file}: is a directory"})
    # step-ca: this file is written in another way, and the same faults have other texts
    _check_writable(
        call,
        crt_file,
        {
            "file exists": f"unexpected error on {crt_file}: file exists",
            "file is a directory": f"open {crt_file} failed: is a directory",
            f"open {crt_file}: no such file or directory": f"open {crt_file} failed: no such file or directory",
        },
    )
    files.write_together(outputs)


def _check_writable(call: Call, path: str, texts: Mapping[str, str]) -> None:
    try:
        files.check_writable(path, force=call.switch("force"))
    except CommandError as error:
        raise CommandError(texts.get(error.message, error.message)) from error
