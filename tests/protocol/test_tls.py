"""Who may call over TLS, with what, and what is refused?"""

import hashlib
import socket
import ssl
import struct
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import Verification

from gateway.settings import Settings
from worklist.errors import Refusal

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def made(folder, name):
    """A self-signed certificate and its key, as PEM files; and its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return cert_file, key_file, hashlib.sha256(der).hexdigest()


@pytest.fixture
def secured(new_gateway, tmp_path):
    """A gateway with a TLS port that trusts the certificates of `cart` and `other`."""
    cert, key, _ = made(tmp_path, "gateway")
    cart, other = made(tmp_path, "cart"), made(tmp_path, "other")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(cart[0].read_bytes() + other[0].read_bytes())
    gateway = new_gateway(
        dicom_tls_port=0, dicom_tls_cert=cert, dicom_tls_key=key, dicom_tls_ca=trusted
    )
    gateway.cart, gateway.other = cart, other
    return gateway


def client(shown=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if shown is not None:
        context.load_cert_chain(shown[0], shown[1])
    return context


def call(port, title="EAST_CT", context=None):
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.requested_contexts = [
        build_context(Verification),
        build_context(CT, [EXPLICIT]),
    ]
    tls = (context, "localhost") if context else None
    sockets = []

    def connected(event):
        sockets.append(event.assoc.dul.socket.socket)

    association = ae.associate(
        "127.0.0.1",
        port,
        ae_title="TELEREAD",
        tls_args=tls,
        evt_handlers=[(evt.EVT_CONN_OPEN, connected)],
    )
    association.sockets = sockets
    return association


def verified(port, title="EAST_CT", context=None):
    """Whether it may come in."""
    association = call(port, title, context)
    try:
        return association.is_established and association.send_c_echo().Status == 0x0000
    finally:
        if association.is_established:
            association.release()
        if association.is_alive():
            association.join(20)
        for one in association.sockets:  # the library forgets one whose peer was faster
            one.close()


def register(gateway, title, site="east", **columns):
    with gateway.parts.new_unit() as unit:
        unit.people.add_device(
            site=site,
            ae_title=title,
            **{"called": None, "host": None, "port": None, "one_per_image": False, **columns},
        )


def test_an_instance_comes_in_over_tls_as_it_was_sent(secured, image, encode, lines):
    dataset = image(PixelData=bytes(range(256)) * 4096)
    association = call(secured.edge.tls_port, context=client())
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    assert association.send_c_store(dataset).Status == 0x0000
    (live,) = secured.edge.live()
    assert (live.tls, live.ae_title, live.site, live.instances) == (True, "EAST_CT", "east", 1)
    association.release()
    association.join(20)
    (row,) = secured.versions(dataset.SOPInstanceUID)
    assert bytes(secured.kept(row)) == encode(dataset)
    assert any("by TLS" in line and "stored 1" in line for line in lines())


def test_a_device_that_must_use_tls_is_refused_without(secured):
    register(secured, "SAFE", tls=True)
    assert not verified(secured.port, "SAFE")
    assert verified(secured.edge.tls_port, "SAFE", client())
    assert secured.edge.counters.rejected == {"tls_required": 1}


def test_without_tls_a_device_does_not_pass_for_one_of_another_site(secured):
    register(secured, "SAME", "east", tls=True, host="127.0.0.1")
    register(secured, "SAME", "west")
    assert not verified(secured.port, "SAME")
    assert verified(secured.edge.tls_port, "SAME", client())
    assert secured.edge.counters.rejected == {"tls_required": 1}


def test_a_device_with_a_certificate_must_show_that_one(secured):
    register(secured, "CART", tls=True, certificate=secured.cart[2])
    port = secured.edge.tls_port
    assert not verified(port, "CART", client())
    assert not verified(port, "CART", client(secured.other))
    assert verified(port, "CART", client(secured.cart))


def test_any_trusted_certificate_may_be_enough(secured):
    register(secured, "ANY", tls=True, certificate="any")
    assert not verified(secured.edge.tls_port, "ANY", client())
    assert verified(secured.edge.tls_port, "ANY", client(secured.other))


def test_certificates_tell_two_sites_apart(secured):
    register(secured, "SAME", "east", tls=True, certificate=secured.cart[2])
    register(secured, "SAME", "west", tls=True, certificate=secured.other[2])
    for shown, site in ((secured.cart, "east"), (secured.other, "west")):
        association = call(secured.edge.tls_port, "SAME", client(shown))
        assert [one.site for one in secured.edge.live()] == [site]
        association.release()
        association.join(20)


def test_a_certificate_nobody_trusts_ends_the_handshake(secured, tmp_path):
    stranger = made(tmp_path, "stranger")
    assert not verified(secured.edge.tls_port, context=client(stranger))
    assert verified(secured.edge.tls_port, context=client())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_two_versions_that_are_spoken(secured, version):
    context = client()
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", secured.edge.tls_port)) as raw,
        context.wrap_socket(raw) as peer,
    ):
        name, _, bits = peer.cipher()
        assert bits >= 128
        assert "GCM" in name or "CHACHA20" in name


def test_old_ciphers_are_not_spoken(secured):
    context = client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA")
    with (
        socket.create_connection(("127.0.0.1", secured.edge.tls_port)) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw)


def test_silent_handshakes_keep_nobody_out(secured):
    silent = [socket.create_connection(("127.0.0.1", secured.edge.tls_port)) for _ in range(100)]
    half = socket.create_connection(("127.0.0.1", secured.edge.tls_port))
    half.sendall(b"\x16\x03\x01")
    try:
        assert verified(secured.edge.tls_port, context=client())
    finally:
        for one in (*silent, half):
            one.close()


def test_the_connection_ends_with_a_close_notify(secured):
    context = client()
    with (
        socket.create_connection(("127.0.0.1", secured.edge.tls_port)) as raw,
        context.wrap_socket(raw, suppress_ragged_eofs=False) as peer,
    ):
        peer.settimeout(20)
        peer.sendall(b"\x01\x00" + struct.pack(">I", 4) + bytes(4))
        said = b""
        while part := peer.recv(4096):  # a missing close_notify would raise here
            said += part
    assert said[:1] == b"\x07"  # A-ABORT


def test_dcmtk_calls_over_tls(secured, tmp_path, image):
    done = subprocess.run(
        f"echoscu +tla -ic -aet EAST_CT -aec TELEREAD 127.0.0.1 {secured.edge.tls_port}".split(),
        timeout=30,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"dicom_tls_cert": None}, "TELEREAD_DICOM_TLS_CERT"),
        ({"dicom_tls_key": "gone.key"}, "TELEREAD_DICOM_TLS_KEY"),
        ({"dicom_tls_key": "other.key"}, "TELEREAD_DICOM_TLS_KEY"),
        ({"dicom_tls_ca": "gone.pem"}, "TELEREAD_DICOM_TLS_CA"),
        ({"dicom_tls_ca": "other.key"}, "TELEREAD_DICOM_TLS_CA"),
    ],
)
def test_wrong_settings_are_refused_by_name(tmp_path, wrong, setting):
    from gateway.dicom.tls import require_tls_settings

    cert, key, _ = made(tmp_path, "gateway")
    made(tmp_path, "other")
    wrong = {name: value and tmp_path / value for name, value in wrong.items()}
    given = {"dicom_tls_port": 2762, "dicom_tls_cert": cert, "dicom_tls_key": key, **wrong}
    with pytest.raises(Refusal) as refused:
        require_tls_settings(Settings(**given))
    assert setting in refused.value.message
