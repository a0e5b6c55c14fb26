"""What does `teleread restore` bring back, and what does it refuse?"""

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from gateway.assemble import own
from gateway.desk import Progress, is_running
from gateway.lockbox import passphrase, unseal, write_private
from gateway.settings import Settings
from gateway.stores import open_objects, prove
from storage.backup import Manifest, read_manifest
from storage.filesystem import sync_folder
from storage.index import open_engine, sqlite_path
from storage.migrate import upgrade
from storage.objects import Objects
from storage.restore import drop_all, is_empty, restore, wrong_parts
from worklist.errors import Code, Refusal

_MINE = frozenset({"lock", "control"})


def run_restore(
    settings: Settings, folder: Path, *, verify: bool, only_verify: bool, replace: bool
) -> int:
    """Bring a backup back. 0 where it is here whole; 1 with one line for each fault."""
    manifest = read_manifest(folder)
    keys = json.loads(unseal(passphrase(settings), (folder / manifest.keys).read_bytes()))
    if verify or only_verify:
        faults = _verify(folder, manifest)
        if faults or only_verify:
            print(f"teleread: {manifest.count} objects proved, {faults} faults", file=sys.stderr)
            return 1 if faults else 0
    return _bring_back(settings, folder, manifest, keys, replace=replace)


def _verify(folder: Path, manifest: Manifest) -> int:
    progress = Progress("objects proved", manifest.count)
    faults = 0
    for line in wrong_parts(folder, manifest, progress.add):
        print(line)
        faults += 1
    return faults


def _bring_back(
    settings: Settings, folder: Path, manifest: Manifest, keys: dict[str, Any], *, replace: bool
) -> int:
    began = time.monotonic()
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = sqlite_path(settings.index_url)
    if path is None and is_running(settings):
        raise Refusal(Code.ALREADY_EXISTS, "A gateway is using this index. Stop it first.")
    with own(settings):
        _require_empty(settings, keys, replace=replace)
        objects = open_objects(settings)
        prove(objects)
        progress = Progress("objects restored", manifest.count)
        if path is None:
            missing = _into_postgres(settings, folder, manifest, objects, progress, replace)
            _put_keys(settings, keys)
        else:
            fresh = path.with_name(f"{path.name}.restoring")
            missing = _into_sqlite(fresh, folder, manifest, objects, progress)
            _put_keys(settings, keys)
            put_in_place(fresh, path, "before-restore")
    seconds = max(time.monotonic() - began, 0.001)
    print(
        f"teleread: {manifest.count} objects, {manifest.bytes} bytes restored in {seconds:.1f} s "
        f"({manifest.bytes / seconds / 1e6:.0f} MB/s), {missing} were missing when the backup "
        "was made",
        file=sys.stderr,
    )
    return 0


def _require_empty(settings: Settings, keys: dict[str, Any], *, replace: bool) -> None:
    left = sorted(one.name for one in settings.data_dir.iterdir() if one.name not in _MINE)
    secret = settings.secret_path
    is_other = secret.exists() and secret.read_bytes() != base64.b64decode(keys["secret_file"])
    if is_other and not replace:
        raise Refusal(
            Code.ALREADY_EXISTS,
            f"TELEREAD_SECRET_FILE: {secret} is another secret than the backup's.",
        )
    if left and not replace and sqlite_path(settings.index_url):
        raise Refusal(
            Code.ALREADY_EXISTS,
            f"{settings.data_dir} is not empty. Name another TELEREAD_DATA_DIR, or say --replace: "
            "the old index is then kept beside.",
        )


def _into_sqlite(
    fresh: Path, folder: Path, manifest: Manifest, objects: Objects, progress: Progress
) -> int:
    """Write a new index file, brought to the schema of this version and closed."""
    for end in ("", "-wal", "-shm"):
        fresh.with_name(fresh.name + end).unlink(missing_ok=True)
    url = f"sqlite:///{fresh}"
    missing = _into(url, folder, manifest, objects, progress, lambda _: None)
    upgrade(url)
    return missing


def _into_postgres(
    settings: Settings,
    folder: Path,
    manifest: Manifest,
    objects: Objects,
    progress: Progress,
    replace: bool,
) -> int:
    def prepare(connection: Connection) -> None:
        if not is_empty(connection) and not replace:
            raise Refusal(
                Code.ALREADY_EXISTS,
                "The index that TELEREAD_DATABASE_URL names is in use. Name an empty database, or "
                "say --replace: what it holds is then gone.",
            )
        drop_all(connection)

    missing = _into(settings.index_url, folder, manifest, objects, progress, prepare)
    upgrade(settings.index_url)
    return missing


def _into(
    url: str, folder: Path, manifest: Manifest, objects: Objects, progress: Progress, prepare: Any
) -> int:
    engine = open_engine(url, threads=1)
    try:
        with engine.begin() as connection:
            prepare(connection)
            return restore(folder, manifest, objects, connection, progress.add)
    finally:
        engine.dispose()


def put_in_place(fresh: Path, path: Path, name: str) -> None:
    """Give a new index file the name of the old one, which stays beside under another name."""
    for end in ("-wal", "-shm"):  # the last one to leave has emptied it
        path.with_name(path.name + end).unlink(missing_ok=True)
    if path.exists():
        path.rename(path.with_name(f"{path.name}.{name}"))
    fresh.rename(path)
    sync_folder(path.parent)


def _put_keys(settings: Settings, keys: dict[str, Any]) -> None:
    """The secret in its place; what other settings name, where it is not there."""
    found = {name: base64.b64decode(text) for name, text in keys.items()}
    secret = found.pop("secret_file")
    if settings.secret_path.exists() and settings.secret_path.read_bytes() != secret:
        settings.secret_path.rename(settings.secret_path.with_suffix(".before-restore"))
    if not settings.secret_path.exists():
        write_private(settings.secret_path, secret)
        sync_folder(settings.secret_path.parent)
    for name, data in found.items():
        named: Path | None = getattr(settings, name, None)
        path = named or settings.data_dir / "restored" / name
        if not path.exists():
            write_private(path, data)
            where = "" if named else f"; name it in TELEREAD_{name.upper()}"
            print(f"teleread: {path} comes from the backup{where}", file=sys.stderr)
