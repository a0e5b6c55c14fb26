#!/usr/bin/env bash
# Which Debian packages do the tests need, and can this account put the missing ones in place?
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need chromium chromium
need storescu dcmtk
need pdfsig poppler-utils
need strace strace
need dciodvfy dicom3tools
need certutil libnss3-tools
need ceph-mon ceph-mon
need ceph-osd ceph-osd
need ceph ceph-common
need radosgw radosgw
[ -e /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc ] || missing+=(fonts-noto-cjk)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "== Debian packages for the tests: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # A machine without a way to its mirror still runs the tests that need none of these.
  if apt-get update -q >/dev/null && apt-get install -yq --no-install-recommends "${missing[@]}" >/dev/null; then
    exit 0
  fi
  echo "   apt could not fetch them" >&2
fi
echo "== Not on this machine: ${missing[*]}; the tests that need them are skipped by name" >&2
echo "   (as root: apt-get install ${missing[*]})" >&2
