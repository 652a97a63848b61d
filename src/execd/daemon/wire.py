"""Frames and JSON of protocol version 1 (protocol.ts is the text of record)."""
import struct

VERSION = 1
MAGIC = b"\x01anyplace-execd\x01\n"
HEADER = struct.Struct(">IBI")
OFFSET = struct.Struct(">Q")
HELLO, REQUEST, RESPONSE, EXIT, DATA, END, WINDOW, RESET, PING, PONG, NOTIFICATION = range(1, 12)
MAX_PAYLOAD = 8 * 1024 * 1024
CHUNK = 256 * 1024
INITIAL_WINDOW = 1024 * 1024

try:  # the C halves of json, without the 10 ms that importing json (re, enum) costs at every start
    import _json

    class _Context:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = None
        memo = {}

    _scan = _json.make_scanner(_Context)
    _encode = _json.make_encoder(None, None, _json.encode_basestring_ascii, None, ":", ",", False, False, False)

    def loads(data):
        text = data.decode("utf-8")
        start = len(text) - len(text.lstrip(" \t\r\n"))
        value, end = _scan(text, start)
        if text[end:].strip(" \t\r\n"):
            raise ValueError("text behind the JSON value")
        return value

    def dumps(value):
        return "".join(_encode(value, 0)).encode("ascii")

    if loads(dumps({"a": [1, "\udc80", None, True, 0.5]})) != {"a": [1, "\udc80", None, True, 0.5]}:
        raise ImportError
except Exception:  # another interpreter, or its private half has changed
    import json

    def loads(data):
        return json.loads(data.decode("utf-8"))

    def dumps(value):
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def frame(kind, ident, payload=b""):
    return HEADER.pack(len(payload), kind, ident) + payload


class Refused(Exception):
    """An answer with an error; `code` is one of the client's closed table."""

    def __init__(self, code, message, hint=None, data=None):
        Exception.__init__(self, message)
        self.error = {"code": code, "message": message}
        if hint:
            self.error["hint"] = hint
        if data:
            self.error["data"] = data


def from_os_error(error, path=None):
    import errno

    codes = {
        errno.ENOENT: "file-not-found",
        errno.EACCES: "permission-denied",
        errno.EPERM: "permission-denied",
        errno.EROFS: "permission-denied",
        errno.EEXIST: "file-exists",
        errno.ENOTEMPTY: "file-exists",
        errno.ENOTDIR: "not-a-directory",
        errno.EISDIR: "is-a-directory",
        errno.ENOSPC: "no-space",
        errno.EDQUOT: "no-space",
        errno.EAGAIN: "resource-exhausted",
        errno.EMFILE: "resource-exhausted",
        errno.ENFILE: "resource-exhausted",
        errno.ENOMEM: "resource-exhausted",
        errno.ELOOP: "invalid-argument",
        errno.ENAMETOOLONG: "invalid-argument",
        errno.EINVAL: "invalid-argument",
    }
    text = error.strerror or str(error)
    if path is None:
        path = error.filename
    if isinstance(path, bytes):
        path = path.decode("utf-8", "surrogateescape")
    where = " %s" % quoted(path) if isinstance(path, str) else ""
    return Refused(codes.get(error.errno, "internal"), "%s%s" % (text, where and ":" + where))


def quoted(text):
    return dumps(text[:200]).decode("ascii")


def to_bytes(text, what):
    if not isinstance(text, str):
        raise Refused("invalid-argument", "%s must be a string" % what)
    if "\0" in text:
        raise Refused("invalid-argument", "%s holds a NUL byte: %s" % (what, quoted(text)))
    return text.encode("utf-8", "surrogateescape")


def to_text(data):
    return data.decode("utf-8", "surrogateescape")
