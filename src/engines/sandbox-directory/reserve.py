# Joined behind control_groups.py. Input: state, record, directories, own_user, limits, pids_default. Takes the name, makes the directory and the control groups.
# Above the ids that systemd gives to containers and below 2^31; no distribution gives these to anybody.
FIRST_UID, LAST_UID = 1879048192, 2147483646
STARTING_SECONDS = 60


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
                more = given.get("more_uids") or 0
                record["hostUid"] = free_uid(state, 1 + more)
                if more:
                    record["slotUids"] = {"first": record["hostUid"] + 1, "count": more}
            for name, is_users in (("run", False), ("workspace", True), ("workdir", True), ("journal", True), ("tmp", True), ("home", True), ("root", False), ("slots", False)):
                if name in given["directories"]:
                    os.mkdir(directory + "/" + name, 0o700)
                    if is_users and "hostUid" in record:
                        os.chown(directory + "/" + name, record["hostUid"], record["hostUid"])
            if "slots" in given["directories"]:
                os.chown(directory + "/slots", record["slotUids"]["first"], record["slotUids"]["first"])
                os.chmod(directory + "/slots", 0o755)
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


def free_uid(state, count):
    """The first of so many in one piece that nobody has."""
    taken = []
    for name in os.listdir(state + "/sandboxes"):
        try:
            with open("%s/sandboxes/%s/sandbox.json" % (state, name)) as file:
                other = loads(file.read())
        except (OSError, ValueError):
            continue
        if other.get("hostUid"):
            taken.append((other["hostUid"], other["hostUid"] + (other.get("slotUids") or {"count": 0})["count"]))
    for path, width in (("/etc/passwd", 2), ("/etc/group", 2)):
        taken += [(int(fields[width]), int(fields[width])) for fields in lines_of(path) if len(fields) > width and fields[width].isdigit()]
    for path in ("/etc/subuid", "/etc/subgid"):
        taken += [(int(fields[1]), int(fields[1]) + int(fields[2]) - 1) for fields in lines_of(path) if len(fields) > 2 and fields[1].isdigit() and fields[2].isdigit()]
    with open("/proc/self/uid_map") as file:
        mapped = [tuple(int(part) for part in line.split()) for line in file]
    # Inside a container the ids end earlier: then the highest there are.
    if any(first <= FIRST_UID and LAST_UID < first + span for first, _, span in mapped):
        first, last = FIRST_UID, LAST_UID
    else:
        first, _, span = max(mapped)
        first, last = max(first, first + span - 4096, 20000), first + span - 2
    last -= count - 1
    for _ in range(1000):
        uid = first + int.from_bytes(os.urandom(8), "big") % (last - first + 1) if last > first else 0
        end = uid + count - 1
        if uid and not uid <= 65534 <= end and not any(low <= end and uid <= high for low, high in taken):
            return uid
    if count > 1:
        raise Refused("slots", "there are no %d free unprivileged user ids in one piece on this machine" % count)
    raise Refused("user", "there is no free unprivileged user id on this machine")


def lines_of(path):
    try:
        with open(path, errors="replace") as file:
            return [line.strip().split(":") for line in file]
    except OSError:
        return []


print(dumps(main()))
