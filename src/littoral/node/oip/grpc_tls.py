"""TLS of the gRPC interface: files are looked at for each connection, and read anew when they changed."""

import logging

import grpc

from littoral.errors import SettingError
from littoral.node.opened_access import TlsFiles

__all__ = ["TlsFiles", "reloading_credentials"]

_log = logging.getLogger("littoral.grpc")


def reloading_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Raises SettingError for files that cannot be read."""
    try:
        known = _contents(files)
    except OSError as error:
        raise SettingError(f"TLS: `{error.filename}`: {error.strerror}") from error
    first = _configuration(known)

    def newest() -> grpc.ServerCertificateConfiguration | None:
        nonlocal known
        try:
            found = _contents(files)
        except OSError as error:
            _log.error("TLS: `%s`: %s; the last good certificate stays", error.filename, error.strerror)
            return None
        if found == known:
            return None
        known = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(first, newest, require_client_authentication=files.clients is not None)


def _contents(files: TlsFiles) -> tuple[bytes, bytes, bytes | None]:
    clients = None if files.clients is None else files.clients.read_bytes()
    return files.certificate.read_bytes(), files.key.read_bytes(), clients


def _configuration(contents: tuple[bytes, bytes, bytes | None]) -> grpc.ServerCertificateConfiguration:
    certificate, key, clients = contents
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=clients)
