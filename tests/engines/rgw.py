"""How does a throw-away Ceph RADOS Gateway start: monitor, one OSD in memory, S3 on loopback?

No systemd, no manager, no root. Debian packages: ceph-mon ceph-osd ceph-common radosgw.
"""

import base64
import os
import secrets
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

from tests.engines.keeper import Children, free_port, listens

PROGRAMS = ("ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin", "monmaptool")
BUCKET = "teleread"
KMS_KEY = "of-tests"
_CONF = """
[global]
keyring = {folder}/keyring
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
osd pool default pg num = 4
osd crush chooseleaf type = 0
osd pool default pg autoscale mode = off
mon max pg per osd = 2000
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
crash dir = {folder}
ms bind ipv6 = false
paxos propose interval = 0.05
[mon]
mon data = {folder}/mon
mon data avail crit = 1
mon data avail warn = 1
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd max object name len = 256
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw dns name = localhost
rgw data = {folder}
rgw thread pool size = 64
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = {kms_key}={kms_secret}
"""


def why_not() -> str | None:
    """Why there is no RADOS Gateway on this machine."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return "Debian packages ceph-mon, ceph-osd, ceph-common, radosgw are not installed " + (
            f"({missing[0]})"
        )
    return None


def start(children: Children, folder: Path) -> dict[str, Any]:
    """Run a store of one node; {"endpoint", "bucket", "access_key", "secret_key", "pid"}."""
    mon, port, fsid = free_port(), free_port(), str(uuid.uuid4())
    access, secret = secrets.token_hex(8), secrets.token_hex(20)
    conf = folder / "ceph.conf"
    conf.write_text(
        _CONF.format(
            folder=folder,
            fsid=fsid,
            mon=mon,
            port=port,
            kms_key=KMS_KEY,
            kms_secret=base64.b64encode(secrets.token_bytes(32)).decode(),
        )
    )
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    run = _Run(folder, conf)
    _keys(run, folder)
    address = f"[v2:127.0.0.1:{mon}]"
    run("monmaptool", "--create", "--clobber", "--addv", "a", address, "--fsid", fsid, "monmap")
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")
    children.start(["ceph-mon", "-c", conf, "-f", "-i", "a"])
    children.wait_until(lambda: listens(mon), "the monitor")
    osd = str(uuid.uuid4())
    run("ceph", "osd", "new", osd)
    run("ceph", "osd", "crush", "add", "osd.0", "1", "root=default")
    run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "--no-mon-config")
    children.start(["ceph-osd", "-c", conf, "-f", "-i", "0"])
    keys = ("--access-key", access, "--secret-key", secret)
    run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=t", "--display-name=t", *keys)
    gateway = children.start(["radosgw", "-c", conf, "-f", "-n", "client.rgw"])
    children.wait_until(lambda: listens(port), "the RADOS Gateway")
    endpoint = f"http://127.0.0.1:{port}"
    _bucket(endpoint, access, secret)
    place = {"endpoint": endpoint, "bucket": BUCKET, "access_key": access, "secret_key": secret}
    return {**place, "pid": gateway.pid, "conf": str(conf)}


class _Run:
    """One command of Ceph."""

    def __init__(self, folder: Path, conf: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "CEPH_CONF": str(conf)}

    def __call__(self, *words: str) -> None:
        done = subprocess.run(
            words,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words[:3])}: {done.stderr[-1000:]}")


def _keys(run: _Run, folder: Path) -> None:
    tool = ("ceph-authtool", "keyring", "--gen-key", "-n")
    everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
    run("ceph-authtool", "--create-keyring", "keyring")
    run(*tool, "mon.", "--cap", "mon", "allow *")
    run(*tool, "client.admin", *everything)
    run(*tool, "client.rgw", *everything)
    run(*tool, "osd.0", "--cap", "mon", "allow profile osd")


def _bucket(endpoint: str, access: str, secret: str) -> None:
    from minio import Minio

    address = endpoint.removeprefix("http://")
    Minio(address, access, secret, secure=False, region="us-east-1").make_bucket(BUCKET)
