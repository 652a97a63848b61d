"""Whether a sandbox can hold slots, and which uids they may get. Small, since every start of a daemon needs it."""
import os

# KILL, CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID
NEEDED = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7
SYS_ADMIN = 1 << 21
SHARED_FIRST, SHARED_COUNT = 1_000_000_000, 900_000_000


def powers(config):
    """What hello says of slots: per level why it is refused, or None; and the uids that there are."""
    uids = {"first": 0, "count": 0}
    reason = None
    try:
        with open("/proc/self/status", "rb") as file:
            line = next(line for line in file if line.startswith(b"CapEff"))
        capabilities = int(line.split()[1], 16)
        with open("/proc/self/uid_map", "rb") as file:
            spans = [tuple(int(word) for word in line.split()) for line in file]
    except (OSError, StopIteration, ValueError):
        capabilities, spans = 0, []
    own = config.get("slotUids")
    if not config["ownPidNamespace"]:
        reason = "the sandbox shares the files and processes of its machine, and closing places would close them there"
    elif os.geteuid() != 0 or capabilities & NEEDED != NEEDED:
        reason = "the exec daemon cannot switch users there"
    elif own:
        uids = own
    elif any(first <= SHARED_FIRST and SHARED_FIRST + SHARED_COUNT <= first + count for first, _, count in spans):
        uids = {"first": SHARED_FIRST, "count": SHARED_COUNT}
    else:
        first, _, count = max(spans, default=(0, 0, 0), key=lambda span: span[2])
        first, count = max(first, 20000), first + count - max(first, 20000)
        if count < 1000:
            reason = "too few user ids are mapped in the sandbox"
        else:
            # 65534 is nobody's
            uids = {"first": first, "count": min(count, 65534 - first) if first < 65534 else count}
    nested = None
    if reason is None and config.get("slotNamespaces"):
        import slot_place

        failed = slot_place.why_not()
        if failed is not None:
            nested = "a private /tmp and process view could not be made there: " + failed
    elif not capabilities & SYS_ADMIN:
        nested = "a private /tmp and process view need the right to make namespaces, which the exec daemon does not have there"
    return {"user": reason, "namespace": reason or nested, "uids": uids, "own": bool(own)}
