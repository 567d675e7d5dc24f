"""Every exception that voicecore raises on purpose.

Each derives from `VoicecoreError` and also from the builtin that a caller would catch
(`OSError`, `ValueError`, `TimeoutError`, ...). The message says what was given and what was
expected.
"""

from __future__ import annotations

import errno as _errno
import os as _os


class VoicecoreError(Exception):
    """The base of all of them."""


class InvalidArgument(VoicecoreError, ValueError):
    """A value out of its range, or of the wrong shape.

    Like any `ValueError` it is survived by a `Scheduler` (lesson R13): the value may have come with
    a command, or from a file.
    """


class WrongType(InvalidArgument, TypeError):
    """A value of another type than is expected: a bug in the code that called.

    One `except InvalidArgument` serves both. What decides for itself whether it goes on judges a
    `WrongType` as the `TypeError` that it is, and not as a `ValueError`: it ends a `Scheduler`, and
    a `voicecore.tasks.loop` that retries `ValueError`.
    """


def survivable(error: BaseException, listed: tuple[type[BaseException], ...]) -> bool:
    """Whether an error is one of those listed; a `WrongType` is not because `ValueError` is."""
    if isinstance(error, WrongType):
        listed = tuple(one for one in listed if one not in (ValueError, InvalidArgument))
    return isinstance(error, listed)


class OpenError(VoicecoreError):
    """A source cannot be opened or decoded, or a queue file not be opened."""


class SourceNotFound(OpenError, FileNotFoundError):
    """No such file or folder, or HTTP status 404 or 410."""


class SourcePermissionError(OpenError, PermissionError):
    """The system, or HTTP status 401 or 403, refuses access."""


class SourceIsDirectory(OpenError, IsADirectoryError):
    """A directory where a file was expected."""


class UnsupportedMedia(OpenError, ValueError):
    """Not audio, or in a format that is not on the allow-list."""


class NoAudio(OpenError, ValueError):
    """A media file without an audio stream, or with no samples in it."""


class CorruptMedia(OpenError, ValueError):
    """Recognised, but not decodable."""


class AccessRefused(OpenError, PermissionError):
    """An address, a protocol or a playlist that the caller did not allow."""


class HTTPStatusError(OpenError, OSError):
    """The server answered with a status other than success.

    Attributes:
        status: the HTTP status code.
    """

    status: int = 0


class CertificateError(OpenError, OSError):
    """The TLS handshake failed, or the certificate is not trusted.

    Attributes:
        verify_code: OpenSSL's reason not to trust the certificate, as in
            `ssl.SSLCertVerificationError`: 18 is a self-signed one, 62 another host's. 0 when the
            handshake failed for another reason; `errno` has that one where there is one.
    """

    verify_code: int = 0


class SourceTimeout(OpenError, TimeoutError):
    """The peer said nothing for longer than allowed."""


class IOFailure(OpenError, OSError):
    """Any other failure of the operating system; see `errno`."""


class SinkError(VoicecoreError, OSError):
    """A sink cannot go on: disk full, file not writable, address not resolvable."""


class AddressInUse(SinkError):
    """The port belongs to somebody else."""


class SourceInUse(VoicecoreError, RuntimeError):
    """A source, or a sink, that belongs to a player already."""


class NotSeekable(VoicecoreError, RuntimeError):
    """The source cannot seek: a live stream, a pipe, a push source."""


class Closed(VoicecoreError, RuntimeError):
    """The object was closed, or was made before a fork; a queue file that was open before one."""


class Unavailable(VoicecoreError, RuntimeError):
    """This machine cannot do it: AES-256-GCM without AES instructions, for example."""


class StaleClaim(VoicecoreError, RuntimeError):
    """A claim or a lease that is not the live one: whoever holds it now must not be disturbed.

    Attributes:
        reason: "expired" (the lease ran out), "taken" (a later attempt holds it), "finished", or
            "unknown" (no such command or session, or never claimed).
    """

    reason: str = "unknown"


class QueueTimeout(VoicecoreError, TimeoutError):
    """What was waited for did not happen in time; it still may."""


class InternalError(VoicecoreError, RuntimeError):
    """A bug in voicecore."""


_BY_CODE: dict[str, type[VoicecoreError]] = {
    "invalid_argument": InvalidArgument,
    "not_found": SourceNotFound,
    "permission": SourcePermissionError,
    "is_directory": SourceIsDirectory,
    "io": IOFailure,
    "timeout": SourceTimeout,
    "unsupported": UnsupportedMedia,
    "no_audio": NoAudio,
    "corrupt": CorruptMedia,
    "refused": AccessRefused,
    "http": HTTPStatusError,
    "tls": CertificateError,
    "address_in_use": AddressInUse,
    "cancelled": Closed,
    "closed": Closed,
    "already_playing": SourceInUse,
    "stale": StaleClaim,
    "unavailable": Unavailable,
    "no_memory": InternalError,
    "internal": InternalError,
}

_DEFAULT_ERRNO: dict[type[VoicecoreError], int] = {
    SourceNotFound: _errno.ENOENT,
    SourcePermissionError: _errno.EACCES,
    SourceIsDirectory: _errno.EISDIR,
    AccessRefused: _errno.EACCES,
    SourceTimeout: _errno.ETIMEDOUT,
    CertificateError: _errno.EPROTO,
    AddressInUse: _errno.EADDRINUSE,
}


_NOT_TRUSTED = ": the certificate is not trusted: "
"""In the core's message when its number is OpenSSL's, no errno."""

_STALE_REASONS = {1: "expired", 2: "taken", 3: "finished", 4: "unknown"}


def from_native(code: str, native: int, message: str, *, sink: bool = False) -> VoicecoreError:
    """Turn a native error into its exception; called by the extension modules.

    Args:
        code: the native error code's name.
        native: errno, an HTTP status, or a library's own code; 0 when there is none.
        message: one sentence.
        sink: True when the failing object is a sink.
    """
    if code == "database":
        from voicecore.database import DatabaseError

        return DatabaseError(message, native)
    kind = _BY_CODE.get(code, InternalError)
    if issubclass(kind, StaleClaim):
        stale = kind(message)
        stale.reason = _STALE_REASONS.get(native, "unknown")
        return stale
    if sink and issubclass(kind, OSError) and not issubclass(kind, SinkError):
        kind = SinkError
    if not issubclass(kind, OSError):
        return kind(message)
    if issubclass(kind, HTTPStatusError):
        failure = kind(_errno.EIO, message)
        failure.status = native
        return failure
    if issubclass(kind, CertificateError) and _NOT_TRUSTED in message:
        untrusted = kind(_errno.EPROTO, message)
        untrusted.verify_code = native
        return untrusted
    number = native if 0 < native < 200 and native in _errno.errorcode else 0
    number = number or _DEFAULT_ERRNO.get(kind, _errno.EIO)
    # OSError picks a subclass by errno only when called itself; ours stays what it is.
    return kind(number, message or _os.strerror(number))
