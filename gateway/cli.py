"""Which commands are there, and how are they called?"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from gateway.settings import Settings, described, read_settings
from worklist.errors import Refusal
from worklist.person import Role


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 0, 1 for a failure, 2 for wrong usage; one clear line on stderr,
    no traceback."""
    os.umask(0o077)  # what is kept here is its owner's business
    given = parser().parse_args(arguments)
    try:
        return _run(given, read_settings())
    except Refusal as refusal:
        print(f"teleread: {refusal.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        print(f"teleread: {_in_one_line(error)}", file=sys.stderr)
        return 1


def _in_one_line(error: Exception) -> str:
    """What broke, and where, for whoever must mend it."""
    from gateway.dicom.store import where

    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}."
    return f"this failed: {where(error)}."


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(
        prog="teleread", description="The gateway that lets a hospital read for its health centers."
    )
    verbs = root.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    serve = verbs.add_parser("serve", help="run in the foreground; SIGTERM stops it cleanly")
    serve.add_argument(
        "--only", nargs="+", choices=("dicom", "web", "worker"), help="only these parts"
    )
    verbs.add_parser("settings", help="every setting with its sentence and value")
    verbs.add_parser("upgrade", help="bring the schema of the index up to this version")

    site = _group(verbs, "site", "institutions")
    add = site.add_parser("add", help="add or change a site")
    add.add_argument("key", metavar="KEY")
    add.add_argument("--name", required=True)
    add.add_argument("--name-en", help="the English name")
    add.add_argument("--kind", choices=("center", "hospital"), help="center, if not said")
    add.add_argument("--read-by", nargs="*", metavar="HOSPITAL", help="who reads for it")
    add.add_argument("--timezone", help="Asia/Shanghai, if not said")
    add.add_argument("--phone", help="the number to call")
    site.add_parser("list", help="every site")

    device = _group(verbs, "device", "AE Titles that may call")
    _registering(device)
    _trying(verbs, device)

    user = _group(verbs, "user", "people")
    add = user.add_parser("add", help="add a person; the password comes on standard input")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", required=True, action="append", choices=list(Role))
    add.add_argument("--site", required=True)
    add.add_argument("--password-stdin", action="store_true", required=True)
    add.add_argument("--display", help="the name as people read it")
    add.add_argument("--display-en", help="the same in English")
    add.add_argument("--licence", help="the licence number that signed reports print")
    add.add_argument("--phone")
    password = user.add_parser("password", help="set a new password; it comes on standard input")
    password.add_argument("name", metavar="NAME")
    password.add_argument("--password-stdin", action="store_true", required=True)

    token = _group(verbs, "token", "bearer tokens for programs")
    add = token.add_parser("add", help="make a token; it is shown once")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", required=True, action="append", choices=list(Role))
    add.add_argument("--site", required=True)
    add.add_argument("--days", type=int, help="how long it is valid")
    revoke = token.add_parser("revoke", help="end a token")
    revoke.add_argument("name", metavar="NAME")

    _keeping(verbs)

    report = _group(verbs, "report", "signed reports")
    verify = report.add_parser(
        "verify", help="who signed this PDF and when; exit 1 when it is not genuine"
    )
    verify.add_argument("file", metavar="FILE.pdf")
    return root


def _keeping(verbs: Any) -> None:
    """What keeps the objects, the index and a copy of both in order."""
    check = verbs.add_parser("check", help="do index and objects agree; one line for each fault")
    check.add_argument("--repair", action="store_true", help="put right what can be proved")
    rebuild = verbs.add_parser("rebuild-index", help="make the index anew from the objects")
    rebuild.add_argument(
        "--replace", action="store_true", help="put it in the place of the old one"
    )
    backup = verbs.add_parser("backup", help="copy index, objects and keys to a folder")
    backup.add_argument("folder", metavar="DIR")
    restore = verbs.add_parser("restore", help="bring a backup back into an empty data folder")
    restore.add_argument("folder", metavar="DIR")
    restore.add_argument("--verify", action="store_true", help="prove every digest first")
    restore.add_argument("--verify-only", action="store_true", help="prove it, restore nothing")
    restore.add_argument("--replace", action="store_true", help="though there is an index already")


def _registering(device: Any) -> None:
    """Who may call, who may not, and who has tried."""
    add = device.add_parser("add", help="register a device")
    add.add_argument("site", metavar="SITE")
    add.add_argument("ae_title", metavar="AE_TITLE")
    add.add_argument("--called", metavar="ALIAS", help="only under this called AE Title")
    add.add_argument(
        "--host", help="only from this address or host name; with --port also a destination"
    )
    add.add_argument("--port", type=_port)
    add.add_argument(
        "--modality", help="what the device makes, such as ECG for a cart that sends PDFs"
    )
    add.add_argument("--tls", action="store_true", help="only over TLS, in both directions")
    add.add_argument(
        "--certificate",
        metavar="FILE.pem|SHA256|any",
        help="only with this client certificate, or with any that is trusted; over TLS",
    )
    add.add_argument("--returns-reports", action="store_true", help="signed reports are sent to it")
    remove = device.add_parser("remove", help="it may not call any more; what it sent stays")
    remove.add_argument("site", metavar="SITE")
    remove.add_argument("ae_title", metavar="AE_TITLE")
    remove.add_argument("--called", metavar="ALIAS", help="the one under this called AE Title")
    remove.add_argument("--host", help="the one at this address")
    device.add_parser("refused", help="who called and was turned away")


def _trying(verbs: Any, device: Any) -> None:
    """What an engineer asks for beside the two ends of a connection."""
    device.add_parser("list", help="every device")
    test = device.add_parser("test", help="try everything between a device and the gateway")
    test.add_argument("ae_title", metavar="AE_TITLE")
    test.add_argument("--site", dest="at_site", help="whose device, where several have this title")
    verbs.add_parser("conformance", help="the DICOM conformance statement, as Markdown")


def _run(given: argparse.Namespace, settings: Settings) -> int:
    if given.verb == "settings":
        for name, sentence, value in described(settings):
            print(f"{name}={value}\n    {sentence}")
        return 0
    if given.verb == "serve":
        from gateway.serve import ROLES, serve

        return serve(settings, given.only or ROLES)
    if given.verb == "upgrade":
        return _upgrade(settings)
    if given.verb in ("check", "rebuild-index", "backup", "restore"):
        return _keep(given, settings)
    if given.verb == "conformance":
        return _on_the_data("conformance", {}, settings)
    return _on_the_data(f"{given.verb} {given.action}", _values(given), settings)


def _keep(given: argparse.Namespace, settings: Settings) -> int:
    """Commands that read everything that is kept."""
    from pathlib import Path

    if given.verb == "check":
        from gateway.checking import run_check

        return run_check(settings, repair=given.repair)
    if given.verb == "rebuild-index":
        from gateway.rebuilding import run_rebuild

        return run_rebuild(settings, replace=given.replace)
    if given.verb == "backup":
        from gateway.backing_up import run_backup

        return run_backup(settings, Path(given.folder))
    from gateway.restoring import run_restore

    return run_restore(
        settings,
        Path(given.folder),
        verify=given.verify,
        only_verify=given.verify_only,
        replace=given.replace,
    )


def _on_the_data(command: str, values: dict[str, Any], settings: Settings) -> int:
    """In the running server when there is one, else here."""
    from gateway.local import hand_over  # a command that is handed over needs to load nothing else

    answer = hand_over(settings.data_dir, {"command": command, "given": values})
    if answer is None:
        answer = _here(command, values, settings)
    if answer["out"]:
        print(_coloured(answer["out"]) if command == "device test" else answer["out"])
    if answer["error"]:
        print(f"teleread: {answer['error']}", file=sys.stderr)
    return int(answer["code"])


def _coloured(text: str) -> str:
    """The first word of each line in its own colour, on a terminal."""
    if not sys.stdout.isatty():
        return text
    return re.sub(
        r"(?m)^(green|red)\b",
        lambda found: f"\x1b[{32 if found[1] == 'green' else 31}m{found[1]}\x1b[0m",
        text,
    )


def _here(command: str, values: dict[str, Any], settings: Settings) -> dict[str, Any]:
    from gateway import commands
    from gateway.assemble import assemble

    parts = assemble(settings)
    try:
        return commands.run(parts, command, values)
    finally:
        parts.close()


def _upgrade(settings: Settings) -> int:
    from contextlib import nullcontext

    from gateway.assemble import own
    from gateway.local import hand_over
    from gateway.stores import upgrade_index
    from storage.index import sqlite_path

    running = hand_over(settings.data_dir, {"command": "upgrade", "given": {}})
    if running is not None:
        print(running["out"])
        return int(running["code"])
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with own(settings) if sqlite_path(settings.index_url) else nullcontext():
        done = upgrade_index(settings)
    print("The schema is up to date now." if done else "The schema was up to date already.")
    return 0


def _values(given: argparse.Namespace) -> dict[str, Any]:
    """What a command was given, as JSON values; a password comes from standard input, never from
    arguments."""
    values = {k: v for k, v in vars(given).items() if k not in ("verb", "action", "password_stdin")}
    if os.path.isfile(values.get("certificate") or ""):  # noqa: PTH113
        values["certificate"] = os.path.abspath(values["certificate"])  # noqa: PTH100
    if "file" in values:
        values["file"] = os.path.abspath(values["file"])  # noqa: PTH100 - the server has another folder
    if getattr(given, "password_stdin", False):
        values["password"] = sys.stdin.readline().rstrip("\r\n")
    return values


def _group(verbs: Any, name: str, sentence: str) -> Any:
    group = verbs.add_parser(name, help=sentence)
    return group.add_subparsers(dest="action", required=True, metavar="ACTION")


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
