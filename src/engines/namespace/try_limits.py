# Joined behind control_groups.py. Input: id. Which limits can be set here: null, or why not.
def try_limits(identity):
    answer = {}
    for field, value in (("cpuLimit", 1), ("memoryLimitMiB", 256), ("pidsLimit", 256)):
        made = []
        try:
            make_cgroups({"limits": {field: value}, "pids_default": None}, {"id": identity, "limits": {}}, made)
            answer[field] = None
        except Refused as refused:
            answer[field] = refused.why
        finally:
            remove_cgroups(made)
    return answer


print(dumps(try_limits(loads(sys.stdin.read())["id"])))
