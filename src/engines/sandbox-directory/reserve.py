# Input: state, record, own_user, limits, pids_default. Takes the name, makes the directory and the control groups.
# Above the ids that systemd gives to containers and below 2^31; no distribution gives these to anybody.
FIRST_UID, LAST_UID = 1879048192, 2147483646
STARTING_SECONDS = 60
DAEMON_MEMORY_MIB = 64
DAEMON_PIDS = 64


class Refused(Exception):
    def __init__(self, field, why):
        self.field, self.why = field, why


def main():
    given = loads(sys.stdin.read())
    state, record = given["state"], given["record"]
    for directory in (state, state + "/sandboxes", state + "/names"):
        os.makedirs(directory, 0o700, exist_ok=True)
    sweep(state + "/sandboxes")
    directory = "%s/sandboxes/.making-%s" % (state, record["id"])
    made = []
    with Ledger(state):
        holder = name_holder(state, record["name"])
        if holder and is_taken("%s/sandboxes/%s" % (state, holder)):
            return {"conflict": holder}
        if os.path.lexists("%s/sandboxes/%s" % (state, record["id"])):
            return {"conflict": record["id"]}
        try:
            os.mkdir(directory, 0o700)
            if given["own_user"]:
                record["hostUid"] = free_uid(state)
            for name, is_users in (("run", False), ("workspace", True), ("workdir", True), ("journal", True), ("tmp", True), ("home", True), ("root", False)):
                if name in given["directories"]:
                    os.mkdir(directory + "/" + name, 0o700)
                    if is_users and "hostUid" in record:
                        os.chown(directory + "/" + name, record["hostUid"], record["hostUid"])
            if "tmp" in given["directories"]:
                os.chmod(directory + "/tmp", 0o1777)
            record["cgroups"] = make_cgroups(given, record, made)
            write(directory + "/sandbox.json", dumps(record))
            os.rename(directory, "%s/sandboxes/%s" % (state, record["id"]))
            write("%s/names/%s" % (state, record["name"]), record["id"])
        except BaseException as error:
            remove_cgroups(made)
            remove_tree(directory)
            remove_tree("%s/sandboxes/%s" % (state, record["id"]))
            if isinstance(error, Refused):
                return {"refused": error.field, "why": error.why}
            raise
    return {"record": record}


def sweep(sandboxes):
    """What a crash left between two steps of making or removing."""
    for name in os.listdir(sandboxes):
        if name.startswith((".making-", ".removing-")):
            try:
                age = time.time() - os.lstat(sandboxes + "/" + name).st_ctime
            except OSError:
                continue
            if age > STARTING_SECONDS:
                remove_tree(sandboxes + "/" + name)


def is_taken(directory):
    """Runs, or is being started right now by somebody."""
    if is_alive(directory):
        return True
    try:
        with open(directory + "/sandbox.json") as file:
            created = loads(file.read())["createdAtMs"]
    except (OSError, ValueError, KeyError):
        return False
    return not os.path.exists(directory + "/run/supervisor.pid") and time.time() - created / 1000 < STARTING_SECONDS


def write(path, text):
    temporary = "%s.%d.tmp" % (path, os.getpid())
    with open(temporary, "w") as file:
        os.chmod(temporary, 0o600)
        file.write(text)
    os.rename(temporary, path)


def free_uid(state):
    used = set()
    for name in os.listdir(state + "/sandboxes"):
        try:
            with open("%s/sandboxes/%s/sandbox.json" % (state, name)) as file:
                used.add(loads(file.read()).get("hostUid"))
        except (OSError, ValueError):
            pass
    taken = [(uid, uid) for uid in used if uid]
    for path, width in (("/etc/passwd", 2), ("/etc/group", 2)):
        taken += [(int(fields[width]), int(fields[width])) for fields in lines_of(path) if len(fields) > width and fields[width].isdigit()]
    for path in ("/etc/subuid", "/etc/subgid"):
        taken += [(int(fields[1]), int(fields[1]) + int(fields[2]) - 1) for fields in lines_of(path) if len(fields) > 2 and fields[1].isdigit() and fields[2].isdigit()]
    with open("/proc/self/uid_map") as file:
        mapped = [tuple(int(part) for part in line.split()) for line in file]
    # Inside a container the ids end earlier: then the highest there are.
    if any(first <= FIRST_UID and LAST_UID < first + count for first, _, count in mapped):
        first, last = FIRST_UID, LAST_UID
    else:
        first, _, count = max(mapped)
        first, last = max(first, first + count - 4096, 20000), first + count - 2
    for _ in range(1000):
        uid = first + int.from_bytes(os.urandom(8), "big") % (last - first + 1) if last > first else 0
        if uid and uid != 65534 and not any(low <= uid <= high for low, high in taken):
            return uid
    raise Refused("user", "there is no free unprivileged user id on this machine")


def lines_of(path):
    try:
        with open(path, errors="replace") as file:
            return [line.strip().split(":") for line in file]
    except OSError:
        return []


# --- control groups


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


print(dumps(main()))
