"""The program `provisor`: the tree of commands, and the one place where errors become text and exit statuses.

A command's module is imported when the command runs, not before, so that `--help` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence

import click
import msgspec

from provisor.cli import exits, output
from provisor.cli.exits import CommandError, UnknownCommand, UsageError
from provisor.cli.grammar import PROGRAM, HelpWanted, PageCommand, StepCommand, wants_help
from provisor.cli.pages import load_pages

_COMMANDS = "provisor.cli.commands"


class Entry(msgspec.Struct, frozen=True):
    """A command, with `target` as `module:attribute` below `commands`; or a group, with `tree`."""

    summary: str
    target: str = ""
    tree: Mapping[str, Entry] = {}


WEBHOOK = {
    "add": Entry("add a webhook to a provisioner", "provisioner_webhook:add"),
    "remove": Entry("remove a webhook from a provisioner", "provisioner_webhook:remove"),
    "update": Entry("change a webhook of a provisioner", "provisioner_webhook:update"),
}
PROVISIONER = {
    "add": Entry("add a provisioner", "provisioner:add"),
    "jwe-key": Entry("print the encrypted key of a provisioner", "provisioner_list:jwe_key"),
    "list": Entry("list the provisioners of a CA", "provisioner_list:list_provisioners"),
    "remove": Entry("remove a provisioner", "provisioner:remove"),
    "update": Entry("update a provisioner", "provisioner:update"),
    "webhook": Entry("manage the webhooks of a provisioner", tree=WEBHOOK),
}
CERTIFICATES = {
    "export": Entry("write the certificates that the CA issued into a file", "ca_certificates:export"),
    "list": Entry("list the certificates that the CA issued", "ca_certificates:list_certificates"),
    "show": Entry("show everything that is known of a certificate", "ca_certificates:show"),
}
AUDIT = {
    "export": Entry("write the audit log for a second party", "ca_audit:export"),
    "head": Entry("print the newest signed head of the audit log", "ca_audit:head"),
    "list": Entry("list the events of the audit log", "ca_audit:list_events"),
    "proof": Entry("prove that a certificate is in the audit log", "ca_audit:proof"),
    "verify": Entry("verify that nothing in the audit log was changed", "ca_audit_verify:verify"),
}
CA = {
    "audit": Entry("read and verify the audit log", tree=AUDIT),
    "bootstrap": Entry("configure this machine to use a CA", "trust:bootstrap"),
    "certificate": Entry("generate a new private key and certificate", "ca_certificate:certificate"),
    "certificates": Entry("ask the server on this machine what it issued", tree=CERTIFICATES),
    "check": Entry("check the configuration of a CA", "ca_check:check"),
    "federation": Entry("get all the roots of the federation", "trust:federation"),
    "health": Entry("get the status of the CA", "trust:health"),
    "init": Entry("create the keys and the configuration of a new CA", "ca_init:init"),
    "provisioner": Entry("manage the provisioners of a CA", tree=PROVISIONER),
    "rekey": Entry("renew a certificate with a new key", "ca_renew:rekey"),
    "renew": Entry("renew a certificate", "ca_renew:renew"),
    "revoke": Entry("revoke a certificate", "ca_revoke:revoke"),
    "root": Entry("download and check a root certificate", "trust:root"),
    "roots": Entry("download all the root certificates", "trust:roots"),
    "sign": Entry("sign a certificate signing request", "ca_certificate:sign"),
    "explain": Entry("say what the CA would answer to a request, and why", "ca_explain:explain"),
    "status": Entry("show the state of the server on this machine", "ca_status:status"),
    "token": Entry("generate a one-time token", "ca_token:token"),
}
TEMPLATE = {
    "check": Entry("check whether templates can be parsed", "template:check"),
    "render": Entry("print what a template makes of data", "template:render"),
}
POLICY = {
    "test": Entry("say what a policy thinks of names", "policy:test"),
}
DB = {
    "backup": Entry("copy the database while it is in use", "db_backup:backup"),
    "check": Entry("check the database, its rows and its log", "db_check:check"),
    "copy": Entry("copy everything into another, empty database", "db_copy:copy"),
    "migrate": Entry("bring the database to the schema of this version", "db_migrate:migrate"),
    "restore": Entry("go on from a backup", "db_restore:restore"),
}
CERTIFICATE = {
    "bundle": Entry("put a certificate and that of its authority into one file", "certificate_files:bundle"),
    "create": Entry("create a certificate or a signing request", "certificate_create:create"),
    "fingerprint": Entry("print the fingerprint of a certificate", "certificate:fingerprint"),
    "format": Entry("turn PEM into DER, and DER into PEM", "certificate_files:format_certificate"),
    "inspect": Entry("print the details of a certificate or request", "certificate:inspect"),
    "install": Entry("make this machine trust a root certificate", "certificate_trust:install"),
    "key": Entry("print the public key in a certificate", "certificate_files:key"),
    "lint": Entry("check a certificate against the rules", "certificate_lint:lint"),
    "needs-renewal": Entry("check whether a certificate should be renewed", "certificate_renewal:needs_renewal"),
    "p12": Entry("put a certificate and its key into a .p12 file", "certificate_p12:p12"),
    "sign": Entry("sign a certificate signing request", "certificate_sign:sign"),
    "uninstall": Entry("make this machine trust a root certificate no more", "certificate_trust:uninstall"),
    "verify": Entry("verify a certificate", "certificate_verify:verify"),
}
CONTEXT = {
    "current": Entry("print the name of the current context", "context:current"),
    "list": Entry("list the contexts", "context:list_contexts"),
    "remove": Entry("remove a context and its files", "context:remove"),
    "select": Entry("make a context the current one", "context:select"),
}
CRL = {
    "inspect": Entry("print a certificate revocation list", "crl:inspect"),
}
CRYPTO_HASH = {
    "compare": Entry("check the digest of a file or folder", "crypto_hash:compare"),
    "digest": Entry("print the digest of files and folders", "crypto_hash:digest"),
}
CRYPTO_KDF = {
    "compare": Entry("check a password against its hash", "crypto_kdf:compare"),
    "hash": Entry("hash a password so that it can be kept", "crypto_kdf:hash_password"),
}
CRYPTO_KEY = {
    "fingerprint": Entry("print the fingerprint of a public key", "crypto_key:fingerprint"),
    "format": Entry("write a key in another format", "crypto_key:format_key"),
    "inspect": Entry("print what a key is made of", "crypto_key:inspect"),
    "public": Entry("print the public key of a private key or certificate", "crypto_key:public"),
    "sign": Entry("sign a file", "crypto_key_sign:sign"),
    "verify": Entry("verify the signature of a file", "crypto_key_sign:verify"),
}
CRYPTO_NACL_AUTH = {
    "digest": Entry("print the code that authenticates a message", "crypto_nacl:auth_digest"),
    "verify": Entry("check the code that authenticates a message", "crypto_nacl:auth_verify"),
}
CRYPTO_NACL_BOX = {
    "keypair": Entry("generate the keys of seal and open", "crypto_nacl_pairs:box_keypair"),
    "open": Entry("decrypt a message from the owner of a public key", "crypto_nacl_pairs:box_open"),
    "seal": Entry("encrypt a message for the owner of a public key", "crypto_nacl_pairs:box_seal"),
}
CRYPTO_NACL_SECRETBOX = {
    "open": Entry("decrypt a message with a key of 32 octets", "crypto_nacl:secretbox_open"),
    "seal": Entry("encrypt a message with a key of 32 octets", "crypto_nacl:secretbox_seal"),
}
CRYPTO_NACL_SIGN = {
    "keypair": Entry("generate the keys of sign and open", "crypto_nacl_pairs:sign_keypair"),
    "open": Entry("verify a signed message, and print it", "crypto_nacl_pairs:sign_open"),
    "sign": Entry("sign a message; the result holds the message too", "crypto_nacl_pairs:sign"),
}
CRYPTO_NACL = {
    "auth": Entry("authenticate messages with a key that both sides have", tree=CRYPTO_NACL_AUTH),
    "box": Entry("encrypt messages with public keys", tree=CRYPTO_NACL_BOX),
    "secretbox": Entry("encrypt messages with a key that both sides have", tree=CRYPTO_NACL_SECRETBOX),
    "sign": Entry("sign messages with Ed25519", tree=CRYPTO_NACL_SIGN),
}
CRYPTO_OTP = {
    "generate": Entry("generate the secret of one-time passwords", "crypto_otp:generate"),
    "verify": Entry("check a one-time password", "crypto_otp:verify"),
}
CRYPTO_WINPE = {
    "extract": Entry("take the certificates out of a signed Windows program", "crypto_winpe:extract"),
}
CRYPTO_JWK_KEYSET = {
    "add": Entry("add a key to a key set", "crypto_jwk:keyset_add"),
    "find": Entry("print the key of an id", "crypto_jwk:keyset_find"),
    "list": Entry("print the ids of the keys", "crypto_jwk:keyset_list"),
    "remove": Entry("remove a key from a key set", "crypto_jwk:keyset_remove"),
}
CRYPTO_JWK = {
    "create": Entry("make a JSON Web Key", "crypto_jwk:create"),
    "keyset": Entry("keep several keys in one file", tree=CRYPTO_JWK_KEYSET),
    "public": Entry("print the public half of a key", "crypto_jwk:public"),
    "thumbprint": Entry("print the thumbprint of a key", "crypto_jwk:thumbprint"),
}
CRYPTO_JWT = {
    "inspect": Entry("print what a token says", "crypto_jwt:inspect"),
    "sign": Entry("make a signed token", "crypto_jwt:sign"),
    "verify": Entry("verify a token, and print what it says", "crypto_jwt:verify"),
}
CRYPTO_JWS = {
    "inspect": Entry("print what a signed message says", "crypto_jws:inspect"),
    "sign": Entry("sign a message", "crypto_jws:sign"),
    "verify": Entry("verify a signed message, and print what it says", "crypto_jws:verify"),
}
CRYPTO_JWE = {
    "decrypt": Entry("decrypt a message", "crypto_jwe:decrypt"),
    "encrypt": Entry("encrypt a message", "crypto_jwe:encrypt"),
}
CRYPTO_JOSE = {
    "format": Entry("turn a JWS or JWE into its other form", "crypto_jwe:format_message"),
}
CRYPTO = {
    "change-pass": Entry("change the password of a private key", "crypto_pass:change_pass"),
    "hash": Entry("digests of files and folders", tree=CRYPTO_HASH),
    "jose": Entry("forms of signed and encrypted messages", tree=CRYPTO_JOSE),
    "jwe": Entry("encrypted messages", tree=CRYPTO_JWE),
    "jwk": Entry("JSON Web Keys", tree=CRYPTO_JWK),
    "jws": Entry("signed messages", tree=CRYPTO_JWS),
    "jwt": Entry("JSON Web Tokens", tree=CRYPTO_JWT),
    "kdf": Entry("hashes of passwords", tree=CRYPTO_KDF),
    "key": Entry("look at keys, change their format, sign with them", tree=CRYPTO_KEY),
    "keypair": Entry("generate a public and a private key in PEM format", "crypto_keypair:keypair"),
    "nacl": Entry("encryption and signatures of NaCl", tree=CRYPTO_NACL),
    "otp": Entry("time-based one-time passwords", tree=CRYPTO_OTP),
    "rand": Entry("print a random string", "crypto_rand:rand"),
    "winpe": Entry("signed Windows programs (not supported by this version)", tree=CRYPTO_WINPE),
}
TREE = {
    "base64": Entry("encode to base64, or decode it", "base64_text:base64"),
    "ca": Entry("set up and use a certificate authority", tree=CA),
    "certificate": Entry("make, change and look at certificates", tree=CERTIFICATE),
    "completion": Entry("print the completion script of a shell", "completion:completion"),
    "context": Entry("choose among several authorities", tree=CONTEXT),
    "crl": Entry("look at certificate revocation lists", tree=CRL),
    "crypto": Entry("make, change and use keys, hashes and random strings", tree=CRYPTO),
    "db": Entry("back up, restore and check the database of a CA", tree=DB),
    "serve": Entry("start a CA in the foreground", "serve:serve_command"),
    "path": Entry("print the folder of the configuration", "local:path"),
    "policy": Entry("try a policy on names", tree=POLICY),
    "template": Entry("render and check templates of certificates", tree=TEMPLATE),
    "version": Entry("print the version", "local:version"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def __init__(self, path: str, summary: str, tree: Mapping[str, Entry]) -> None:
        super().__init__(name=path.rsplit(" ", 1)[-1], help=summary)
        self.full_name = path
        self._tree = tree

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted, without importing anything."""
        return sorted(self._tree)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The group or the imported command; None for an unknown name."""
        return self.find(cmd_name)

    def summaries(self) -> list[tuple[str, str]]:
        """Names and summaries, sorted, without importing anything."""
        return [(name, self._tree[name].summary) for name in sorted(self._tree)]

    def find(self, name: str) -> click.Command | None:
        """As `get_command`, without a context."""
        if name not in self._tree:
            return None
        entry = self._tree[name]
        if entry.tree:
            return LazyGroup(f"{self.full_name} {name}", entry.summary, entry.tree)
        module, _, attribute = entry.target.partition(":")
        loaded: click.Command = getattr(importlib.import_module(f"{_COMMANDS}.{module}"), attribute)
        return loaded

    def find_page(self, name: str) -> click.Command | None:
        """As `find`, but what is found may be good for its page alone."""
        full_name = f"{self.full_name} {name}"
        if name in self._tree and not self._tree[name].tree:
            page = load_pages().get(full_name.partition(" ")[2])
            if page is not None:
                return PageCommand(full_name, page)
        return self.find(name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words to `invoke`: a group has no flags of its own but help."""
        ctx.args = args
        return args

    def invoke(self, ctx: click.Context) -> None:
        """Find the next command and run it; without a name, or with `--help`, print the page."""
        words = self._own_flags(ctx)
        if not words:
            raise HelpWanted(self)
        if words[0] == "help" or words[0] == "h":
            raise HelpWanted(self._topic(words[1:]))
        if words[0].startswith("-") and words[0] != "-":
            raise UsageError(f"flag provided but not defined: -{words[0].lstrip('-')}", page=self.help_page())
        command = self.find_page(words[0]) if wants_help(words[1:]) else self.find(words[0])
        if command is None:
            raise UnknownCommand(words[0], self._tree)
        with command.make_context(words[0], words[1:], parent=ctx) as inner:
            command.invoke(inner)

    def _own_flags(self, ctx: click.Context) -> list[str]:
        """What is left after the flags before the command's name."""
        if wants_help(ctx.args[:1]):
            raise HelpWanted(self)
        return list(ctx.args)

    def _topic(self, words: Sequence[str]) -> click.Command:
        command: click.Command = self
        for word in words:
            found = command.find_page(word) if isinstance(command, LazyGroup) else None
            if found is None:
                known = command.list_commands(click.Context(command)) if isinstance(command, LazyGroup) else ()
                raise UnknownCommand(f"{PROGRAM} {word}" if command is self else word, known)
            command = found
        return command

    def help_page(self) -> str:
        """Name, usage and the commands with their summaries."""
        width = max(map(len, self._tree))
        commands = (f"  {name:<{width}}  {self._tree[name].summary}" for name in sorted(self._tree))
        head = [
            "NAME",
            f"  {self.full_name} -- {self.help}",
            "",
            "USAGE",
            f"  {self.full_name} COMMAND [ARGUMENTS]",
            "",
            "COMMANDS",
        ]
        return "\n".join([*head, *commands])


class Program(LazyGroup):
    """The root of the tree, with the flags `--version` and `--config FILE`."""

    def _own_flags(self, ctx: click.Context) -> list[str]:
        rest = list(ctx.args)
        while rest and rest[0].startswith("-"):
            name, has_value, value = rest[0].lstrip("-").partition("=")
            if name in ("version", "v"):
                return ["version"]
            if name != "config":
                break
            rest.pop(0)
            if not has_value:
                if not rest:
                    raise UsageError("flag needs an argument: -config", page=self.help_page())
                value = rest.pop(0)
            ctx.obj = value
        ctx.args = rest
        return super()._own_flags(ctx)


def program() -> Program:
    """A fresh root of the tree."""
    return Program(PROGRAM, "a certificate authority and its clients", TREE)


def run(words: Sequence[str]) -> int:
    """Run one command line; the exit status. Everything a user can cause becomes text on stderr."""
    root = program()
    try:
        with root.make_context(PROGRAM, list(words)) as context:
            root.invoke(context)
    except HelpWanted as wanted:
        output.data(page_of(wanted.command))
    except (CommandError, click.exceptions.Exit, KeyboardInterrupt, BrokenPipeError) as error:
        return report(error)
    return exits.OK


def report(error: BaseException) -> int:
    """Print an error as `step` would; its exit status."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, BrokenPipeError):
        # whoever read our output has gone: keep the interpreter from complaining about it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    assert isinstance(error, CommandError)
    if isinstance(error, UsageError) and error.page:
        output.data(f"Incorrect Usage: {error.message}\n\n{error.page}")
    if os.environ.get("STEPDEBUG") == "1":
        traceback.print_exception(error)
    output.note(error.message)
    if error.near and sys.stderr.isatty():
        output.note(f"Did you mean {' or '.join(error.near)}?")
    return error.status


def page_of(command: click.Command) -> str:
    """The help page of a command or group."""
    assert isinstance(command, StepCommand | PageCommand | LazyGroup)
    return command.help_page()


def complete(words: Sequence[str]) -> int:
    """Answer a shell that completes a command line (`completing`). Whatever goes wrong, its prompt stays as it is."""
    from provisor.cli.completing import as_lines, find_candidates

    try:
        sys.stdout.write(as_lines(find_candidates(program(), words)))
    except (CommandError, OSError):
        return exits.FAILED
    return exits.OK


def main() -> None:
    """The entry point of the program."""
    words = sys.argv[1:]
    sys.exit(complete(words[1:]) if words[:1] == ["__complete"] else run(words))
