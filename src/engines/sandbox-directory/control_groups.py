# The limits of a sandbox by control groups, version 1, 2 or both at once.
DAEMON_MEMORY_MIB = 64
# Supervisor, daemon, zygote and one keeper. No more, since the user could take whatever is spare: each further command at the
# same time takes its keeper from the user's share.
DAEMON_PIDS = 4


class Refused(Exception):
    def __init__(self, field, why):
        self.field, self.why = field, why


def make_cgroups(given, record, made):
    """Path by controller; `unified` for version 2. Empty when no limit was asked for and none can be made."""
    limits = given["limits"]
    asked = {name: limits[name] for name in ("cpuLimit", "memoryLimitMiB", "pidsLimit") if limits.get(name) is not None}
    groups = {}
    for field, controller in (("cpuLimit", "cpu"), ("memoryLimitMiB", "memory"), ("pidsLimit", "pids")):
        value = asked.get(field)
        if value is None and field == "pidsLimit":
            value = given["pids_default"]
        if value is None:
            continue
        try:
            key, path, is_unified = group_for(controller, record["id"], groups)
            if key not in groups:
                made.append(path)
                groups[key] = path
            for name, text in values(controller, value, is_unified, path):
                with open(path + "/" + name, "w") as file:
                    file.write(text)
            record["limits"][field] = value
        except (OSError, LookupError) as error:
            if field in asked:
                raise Refused(field, "no control group for it can be made here: %s" % (error,))
    return groups


def values(controller, value, is_unified, path):
    if controller == "pids":
        return [("pids.max", str(int(value) + DAEMON_PIDS))]
    if controller == "cpu":
        quota = max(1000, int(value * 100000))
        return [("cpu.max", "%d 100000" % quota)] if is_unified else [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", str(quota))]
    size = str(int((value + DAEMON_MEMORY_MIB) * 1024 * 1024))
    if is_unified:
        return [("memory.max", size)] + ([("memory.swap.max", "0")] if os.path.exists(path + "/memory.swap.max") else [])
    swap = "memory.memsw.limit_in_bytes"
    return [("memory.limit_in_bytes", size)] + ([(swap, size)] if os.path.exists(path + "/" + swap) else [])


def group_for(controller, identity, groups):
    one, two = mounted_hierarchies()
    if controller in one:
        mount_point, own = one[controller]
        # As root in a place of our own at the top; as anybody else only below where we are, if that was handed to us.
        parent = mount_point if os.geteuid() == 0 else mount_point + own
        path = "%s/anyplace/%s" % (parent.rstrip("/"), identity)
        make_group(path)
        return controller, path, False
    if two is None:
        raise LookupError("the %s controller is not mounted" % controller)
    if "unified" in groups:
        return "unified", groups["unified"], True
    mount_point, own = two
    parents = [mount_point] if os.geteuid() == 0 else delegated(mount_point, own)
    problem = LookupError("no part of %s was handed to this user" % mount_point)
    for parent in parents:
        base = parent.rstrip("/") + "/anyplace"
        try:
            enable(parent)
            make_group(base)
            enable(base)
            make_group("%s/%s" % (base, identity))
            return "unified", "%s/%s" % (base, identity), True
        except (OSError, LookupError) as error:
            problem = error
    raise problem


def make_group(path):
    """Again when the parent vanishes under us: the last sandbox of another state directory takes it along."""
    for attempt in range(20):
        try:
            return os.makedirs(path, 0o755, exist_ok=True)
        except FileNotFoundError:
            if attempt == 19:
                raise


def enable(group):
    with open(group + "/cgroup.subtree_control") as file:
        on = file.read().split()
    missing = [name for name in ("cpu", "memory", "pids") if name not in on]
    if missing:
        with open(group + "/cgroup.subtree_control", "w") as file:
            file.write(" ".join("+" + name for name in missing))


def delegated(mount_point, own):
    """Groups above ours that we may write, the nearest first. Our own cannot be it: it has processes."""
    found = []
    path = os.path.dirname(own)
    while len(path) > 1:
        if os.access(mount_point + path + "/cgroup.procs", os.W_OK) and os.access(mount_point + path, os.W_OK):
            found.append(mount_point + path)
        path = os.path.dirname(path)
    return found


def mounted_hierarchies():
    """Version 1: controller to (mount point, our path); version 2: (mount point, our path) or None."""
    ours = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            number, names, path = line.rstrip("\n").split(":", 2)
            for name in names.split(",") if number != "0" else ("",):
                ours[name] = path
    one, two = {}, None
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            fields, (kind, _, options) = left.split(), right.split()[:3]
            if kind == "cgroup":
                for name in options.split(","):
                    if name in ("cpu", "memory", "pids"):
                        one[name] = (fields[4], ours.get(name, "/"))
            elif kind == "cgroup2":
                two = (fields[4], ours.get("", "/"))
    return one, two
