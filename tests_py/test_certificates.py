"""Why a TLS connection is refused, by a real server on this machine."""

from __future__ import annotations

import contextlib
import datetime
import errno
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import Runner
from voicecore import CertificateError, Engine


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        pass  # handshakes fail here on purpose


def certificate(folder: Path, host: str) -> Path:
    """A self-signed certificate and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{host}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.contextmanager
def serving(file: Path | None) -> Iterator[str]:
    """A server with that certificate, or without TLS; its https URL."""
    with Server(("127.0.0.1", 0), Handler) as server:
        if file is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://localhost:{server.server_port}/x.mp3"
        finally:
            server.shutdown()
            thread.join()


def refused(run: Runner, url: str, **options: Any) -> CertificateError:
    async def main() -> CertificateError:
        async with Engine() as engine:
            with pytest.raises(CertificateError) as caught:
                await engine.open(url, **options)
        return caught.value

    error: CertificateError = run(main())
    return error


def test_a_certificate_that_is_not_trusted_has_openssls_reason_and_an_errno_of_its_own(
    run: Runner, tmp_path: Path
) -> None:
    with serving(certificate(tmp_path, "localhost")) as url:
        error = refused(run, url)
    assert (error.verify_code, error.errno) == (18, errno.EPROTO)  # errno was 18, EXDEV
    assert "self-signed" in str(error)
    other = certificate(tmp_path, "elsewhere.example")
    with serving(other) as url:
        error = refused(run, url, ca_file=other)
    assert (error.verify_code, error.errno) == (62, errno.EPROTO)


def test_a_handshake_that_fails_has_the_systems_errno(run: Runner) -> None:
    with serving(None) as url:
        error = refused(run, url)
    assert (error.verify_code, error.errno) == (0, errno.EPROTO)
