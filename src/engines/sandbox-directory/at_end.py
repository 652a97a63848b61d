# Arguments: JSON of state, id, name, cgroups. What a sandbox's supervisor becomes when it has ended everything else.
def main():
    given = loads(sys.argv[1])
    os.chdir("/")
    release(given["state"], given["name"], given["id"], given["cgroups"])
    remove_tree(put_aside(given["state"], given["id"]))


main()
