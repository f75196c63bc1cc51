"""`ca init`: the keys, certificates and configuration of a new CA."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from provisor import pki
from provisor.cli import context, exits, files, keys, output, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind, command, switch, text, texts
from provisor.core.pem import parse_certificates
from provisor.core.secret import Secret
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadKey, Malformed, ProvisorError
from provisor.pki_files import install, present

_DEPLOYMENTS = ("standalone", "linked", "hosted")
_DEPLOYMENT_ITEMS = (
    "Standalone - a CA you run yourself",
    "Linked - standalone, plus a management service (not supported by this version)",
    "Hosted - a CA run for you by a service",
)
_HOSTED = """
A hosted CA is run for you by Smallstep, and has its keys there. An account comes first:

    https://u.step.sm/hosted

Then connect this machine to it, with the address and the fingerprint that the account shows:

    $ provisor ca bootstrap --ca-url <url> --fingerprint <fingerprint>
"""

FLAGS = (
    Flag(("root",), help="an existing root certificate to use", metavar="FILE", ignores_environment=True),
    Flag(("key",), help="the key of the existing root certificate", metavar="FILE", ignores_environment=True),
    text("key-password-file", help="the file with the password of that key", metavar="FILE"),
    switch("pki", help="make only certificates and keys, no configuration"),
    text("deployment-type", help="standalone, linked or hosted", metavar="NAME"),
    text("name", help="the name of the new PKI", metavar="NAME"),
    texts("dns", help="the DNS names or IP addresses of the new CA", metavar="NAME"),
    text("address", help="the address that the new CA listens on", metavar="HOST:PORT"),
    text("provisioner", help="the name of the first provisioner", metavar="NAME"),
    text("password-file", help="the file with the password that encrypts the keys", metavar="FILE"),
    text("provisioner-password-file", help="the file with the password of the provisioner key", metavar="FILE"),
    text("with-ca-url", help="the URL to write into defaults.json", metavar="URL"),
    switch("no-db", help="no database in the configuration"),
    switch("acme", help="add an ACME provisioner"),
    switch("helm", help="write nothing, print values for the Helm chart"),
    text("context", help="the name of the context for the new authority", metavar="NAME"),
    text("profile", help="the name of its profile", metavar="NAME"),
    text("authority", help="the name of its authority folder", metavar="NAME"),
    switch("f", "force", help="replace files of an existing PKI without asking"),
    switch("no-context", hidden=True, default=True),
    # what step has and this version has not: known here for the complaints about their combinations
    switch("ssh", hidden=True),
    switch("remote-management", hidden=True),
    text("admin-subject", "admin-name", hidden=True),
    text("ra", hidden=True),
    text("kms", hidden=True),
    *(
        Flag((name,), hidden=True, built=False)
        for name in ("kms-root", "kms-intermediate", "kms-ssh-host", "kms-ssh-user")
    ),
    *(
        Flag((name,), hidden=True, built=False, kind=FlagKind.TEXT)
        for name in ("issuer", "issuer-fingerprint", "issuer-provisioner", "credentials-file")
    ),
)


@command("ca init", usage="", flags=FLAGS, most=None, reads_defaults=False)
def init(call: Call) -> None:
    """create the keys and the configuration of a new CA

    Answers what is not given by a flag are asked for. Either everything is written or nothing; files of an
    existing PKI are replaced only after a question, or with --force.
    """
    _check_flags(call)
    root = _read_root(call)
    password = _password_of(call, "password-file")
    provisioner_password = _password_of(call, "provisioner-password-file")
    if _choose_deployment(call, password) == "hosted":
        output.note(_HOSTED)
        return
    name = _answer(call, "name", "What would you like to name your new PKI?", "(e.g. Smallstep)", _check_not_empty)
    settings = None if call.switch("pki") else _ask_settings(call)
    if not password:
        password = _ask_password(only_keys=settings is None)
    if call.switch("helm"):
        _print_values(_generate(name, root), settings, password, provisioner_password)
        return
    paths = _paths(call, settings)
    made = _generate(name, root)
    try:
        built = pki.assemble_pki(
            *made,
            settings,
            step_path=os.path.abspath(paths.step),
            password=password,
            provisioner_password=provisioner_password,
        )
        _write(call, built, paths)
    except ProvisorError as error:
        raise CommandError(error.detail) from error
    _report(built, settings, paths)


def _print_values(
    made: tuple[pki.Authority, pki.Authority],
    settings: pki.CASettings | None,
    password: Secret,
    provisioner_password: Secret | None,
) -> None:
    """`--helm`: nothing is written."""
    from provisor.cli import helm

    assert settings is not None  # --pki and --helm exclude each other
    try:
        built = pki.assemble_pki(
            *made,
            settings,
            step_path=helm.home(),
            password=password,
            provisioner_password=provisioner_password,
        )
    except ProvisorError as error:
        raise CommandError(error.detail) from error
    output.data(helm.values(built, settings), end="")


def _check_flags(call: Call) -> None:
    """Impossible combinations and values in the order of the reference, then what this version does not have."""
    has_root, has_key = bool(call.text("root")), bool(call.text("key"))
    if has_root != has_key:
        raise exits.requires_flag("root", "key") if has_root else exits.requires_flag("key", "root")
    if (ra := call.text("ra")) and ra.lower() not in ("stepcas", "cloudcas"):
        raise exits.invalid_value(ra, "ra", "StepCAS or CloudCAS")
    if (kms := call.text("kms")) and kms.lower() != "azurekms":
        raise exits.invalid_value(kms, "kms", "azurekms")
    if kms and ra:
        raise exits.incompatible_flags("kms", "ra")
    for flag, other in (("pki", "no-db"), ("pki", "helm"), ("remote-management", "no-db"), ("acme", "no-db")):
        if call.switch(flag) and call.switch(other):
            raise exits.incompatible_flags(flag, other)
    if call.is_set("admin-subject"):
        if call.switch("helm"):
            raise exits.incompatible_flags("admin-subject", "helm")
        if not call.switch("remote-management"):
            raise CommandError("flag '--admin-subject' is only supported when '--remote-management' is enabled")
    for flag in ("ssh", "remote-management"):
        if call.switch(flag):
            raise exits.not_built(flag)
    for flag in ("ra", "kms"):
        if call.text(flag):
            raise exits.not_built(flag)


def _read_root(call: Call) -> pki.Authority | None:
    """The authority of `--root` and `--key`."""
    root, key = call.text("root"), call.text("key")
    if not root:
        return None
    try:
        certificate = parse_certificate(parse_certificates(files.read_pem_file(root))[0])
        password = _password_of(call, "key-password-file") or Secret(b"")
        private = keys.load_key(key, password, flag="key-password-file")
    except BadKey as error:
        raise CommandError(error.detail) from error
    except Malformed as error:
        raise CommandError(f"error reading {root}: {error.detail}") from error
    return pki.Authority(certificate, private, key_is_new=False)


def _password_of(call: Call, flag: str) -> Secret | None:
    """What the file of a password flag holds; None without the flag, or when the file is empty."""
    path = call.text(flag)
    return Secret(files.read_password(path)) or None if path else None


def _choose_deployment(call: Call, password: Secret | None) -> str:
    """Standalone, or hosted. Asked for unless a flag says it, or everything else is said by flags.

    Raises `CommandError` for a linked one.
    """
    given = call.text("deployment-type")
    if given:
        if given.lower() not in _DEPLOYMENTS:
            raise exits.invalid_value(given, "deployment-type", "standalone, linked or hosted")
        chosen = _DEPLOYMENTS.index(given.lower())
    else:
        needed = ("name",) if call.switch("pki") else ("name", "address", "provisioner")
        if (
            all(map(call.text, needed))
            and call.text("password-file")
            and (call.switch("pki") or any(call.texts("dns")))
        ):
            return _DEPLOYMENTS[0]
        chosen = prompt.select(
            "What deployment type would you like to configure?",
            _DEPLOYMENT_ITEMS,
            name="Deployment Type",
            flag="deployment-type",
        )
    if _DEPLOYMENTS[chosen] == "linked":
        raise CommandError("deployment type 'linked' is not supported by this version of provisor")
    return _DEPLOYMENTS[chosen]


def _ask_settings(call: Call) -> pki.CASettings:
    """What ca.json says, by flags and answers."""
    given = [name for name in call.texts("dns") if name]
    if not given:
        question = "What DNS names or IP addresses will clients use to reach your CA?"
        given = [_ask(question, "(e.g. ca.example.com[,10.1.2.3,etc.])", _check_dns, "dns")]
    address = _answer(
        call,
        "address",
        "What IP and port will your new CA bind to? (:443 will bind to 0.0.0.0:443)",
        "(e.g. :443 or 127.0.0.1:443)",
        pki.check_address,
    )
    provisioner = _answer(
        call,
        "provisioner",
        "What would you like to name the CA's first provisioner?",
        "(e.g. you@smallstep.com)",
        _check_not_empty,
    )
    try:
        dns_names = pki.parse_dns_names(given)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return pki.CASettings(
        dns_names=dns_names,
        address=address,
        provisioner=provisioner,
        acme=call.switch("acme"),
        database=not call.switch("no-db"),
        url=call.text("with-ca-url"),
    )


def _check_dns(answer: str) -> None:
    pki.parse_dns_names([answer])


def _check_not_empty(answer: str) -> None:
    if not answer.strip():
        raise ValueError("value is empty")


def _answer(call: Call, flag: str, question: str, example: str, check: Callable[[str], None]) -> str:
    """The flag's value, or else the answer to a question; `check` raises `ValueError`."""
    given = call.text(flag)
    if not given:
        return _ask(question, example, check, flag)
    try:
        check(given)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return given


def _ask(question: str, example: str, check: Callable[[str], None], flag: str) -> str:
    def complaint(answer: str) -> str | None:
        try:
            check(answer)
        except ValueError as error:
            return str(error)
        return None

    output.note(question)
    return prompt.ask_text(example, check=complaint, flag=flag)


def _ask_password(*, only_keys: bool) -> Secret:
    what = "your CA keys" if only_keys else "your CA keys and first provisioner"
    output.note(f"Choose a password for {what}.")
    return Secret(prompt.ask_password_or_generate("[leave empty and we'll generate one]", flag="password-file"))


def _paths(call: Call, settings: pki.CASettings | None) -> context.Paths:
    """The folders of the new authority; its context is not written yet."""
    wanted = [call.text(flag) for flag in ("context", "authority", "profile")]
    if settings is None:
        return context.find_paths()
    if not any(wanted) and not context.in_use():
        plain = context.plain_paths()
        if os.path.exists(plain.ca_config):
            output.note("⚠️  It looks like step is already configured to connect to an authority.")
            output.note("With a context of its own (--context NAME) a second authority leaves this one alone.")
            output.note()
        return plain
    name, authority, profile = wanted
    name = name or settings.dns_names[0]
    for part in (name, authority, profile):
        # each becomes the name of a folder
        if re.search(r"^\.+$|[/\x00]", part):
            raise CommandError(f"invalid context name '{part}'")
    return context.context_paths(context.Context(name, authority=authority or name, profile=profile or name))


def _generate(name: str, root: pki.Authority | None) -> tuple[pki.Authority, pki.Authority]:
    now = datetime.now(UTC)
    output.note()
    output.note(f"{'Copying' if root else 'Generating'} root certificate... ", end="")
    root = root or pki.make_root(name, now=now)
    output.note("done!")
    output.note("Generating intermediate certificate... ", end="")
    try:
        intermediate = pki.make_intermediate(name, root, now=now)
    except ProvisorError as error:
        raise CommandError(f"error creating certificate: {error.detail}") from error
    output.note("done!")
    return root, intermediate


def _write(call: Call, built: pki.PKI, paths: context.Paths) -> None:
    """All files, or none and an error."""
    folder = Path(paths.step).absolute()
    for path in present(folder, built.files):
        if path.is_dir():
            raise CommandError("file is a directory")
        if not call.switch("force"):
            prompt.confirm_overwrite(str(path), flag="force")
    try:
        with install(folder, built.files, built.folders) as installation:
            if paths.context is not None:
                context.add_context(paths.context)
            installation.commit()
    except OSError as error:
        raise CommandError(f"{error.filename or folder}: {files.system_text(error)}") from error


def _report(built: pki.PKI, settings: pki.CASettings | None, paths: context.Paths) -> None:
    folder = os.path.abspath(paths.step)
    output.note()
    output.done("Root certificate", os.path.join(folder, pki.ROOT_CERTIFICATE))
    # step-ca: prints this line too when an existing root was used and there is no such file.
    output.done("Root private key", os.path.join(folder, pki.ROOT_KEY))
    output.done("Root fingerprint", built.root.certificate.fingerprint)
    output.done("Intermediate certificate", os.path.join(folder, pki.INTERMEDIATE_CERTIFICATE))
    output.done("Intermediate private key", os.path.join(folder, pki.INTERMEDIATE_KEY))
    if settings is None:
        return
    if settings.database:
        output.done("Database folder", os.path.join(folder, pki.DATABASE))
    output.done("Default configuration", os.path.join(folder, pki.DEFAULTS))
    if paths.context is not None:
        output.done("Default profile configuration", os.path.abspath(paths.profile_defaults))
    output.done("Certificate Authority configuration", os.path.join(folder, pki.CONFIGURATION))
    output.note()
    output.note("Your PKI is ready to go. To generate certificates for individual services see 'provisor help ca'.")
    if settings.database:
        output.note("If you serve this folder by step-ca after Provisor: it renews what is revoked only here.")
