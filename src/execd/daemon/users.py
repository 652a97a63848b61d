"""From `uid`, `uid:gid`, `name` or `name:group` to ids and a home."""
import os

from wire import Refused, quoted, to_bytes

_cache = {}


class User:
    __slots__ = ("uid", "gid", "groups", "home", "name", "switch")


def resolve(text):
    """text None: the daemon's own user."""
    key = (text, _changed("/etc/passwd"), _changed("/etc/group"))
    user = _cache.get(key)
    if user is None:
        if len(_cache) > 64:
            _cache.clear()
        user = _cache[key] = _resolve(text)
    return user


def _changed(path):
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _resolve(text):
    import grp
    import pwd

    me = os.geteuid()
    to_bytes(text or "", "user")
    name, _, group = (text if text else str(me)).partition(":")
    user = User()
    entry = None
    try:
        if name.isdigit():
            user.uid = int(name)
            try:
                entry = pwd.getpwuid(user.uid)
            except KeyError:
                pass
        else:
            entry = pwd.getpwnam(name)
            user.uid = entry.pw_uid
        if group.isdigit():
            user.gid = int(group)
        elif group:
            user.gid = grp.getgrnam(group).gr_gid
        elif not text:
            user.gid = os.getegid()
        else:
            user.gid = entry.pw_gid if entry else user.uid
    except KeyError:
        raise Refused("invalid-argument", "no such user or group in the sandbox: %s" % quoted(text))
    if max(user.uid, user.gid) > 0xFFFFFFFE:
        raise Refused("invalid-argument", "no such user id: %s" % quoted(text))
    user.name = entry.pw_name if entry else None
    user.switch = user.uid != me or user.gid != os.getegid()
    if user.switch and me != 0:
        raise Refused(
            "unsupported",
            "commands can only run as uid %d here, not as %s" % (me, quoted(text)),
            "leave out user, or open the sandbox as root",
        )
    user.groups = [user.gid]
    if user.switch and entry is not None and not group:
        user.groups = os.getgrouplist(entry.pw_name, user.gid)
    user.home = _home(user, entry)
    return user


def _home(user, entry):
    if entry is not None and os.path.isdir(entry.pw_dir) and entry.pw_dir != "/":
        return entry.pw_dir
    if user.uid == 0:
        return "/root" if os.path.isdir("/root") else "/"
    # a uid without a home in the image: many programs fail without a writable one
    home = "/tmp/.home-%d" % user.uid
    try:
        os.mkdir(home, 0o700)
        if user.switch:
            os.chown(home, user.uid, user.gid)
    except FileExistsError:
        stat = os.lstat(home)
        if stat.st_uid != user.uid or (stat.st_mode & 0o170000) != 0o040000:
            return "/tmp"
    except OSError:
        return "/tmp"
    return home
