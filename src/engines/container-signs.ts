/** What is known of this machine that may tell whether it is a container. Missing facts are undefined. */
export interface ContainerEvidence {
  /** Text of /proc/1/cgroup. */
  readonly initCgroup?: string | undefined
  /** Text of /proc/self/mountinfo. */
  readonly mountInfo?: string | undefined
  /** /.dockerenv exists. Some virtual machines are made from container images and have it too, so alone it proves nothing. */
  readonly hasDockerEnv: boolean
  /** /run/.containerenv exists (Podman). */
  readonly hasContainerEnv: boolean
  /** Text of /run/systemd/container: the manager's name (nspawn, LXC). */
  readonly systemdContainer?: string | undefined
  /** The environment variable `container`, set by Podman, LXC and nspawn. */
  readonly containerVariable?: string | undefined
  /** The environment variable KUBERNETES_SERVICE_HOST. */
  readonly kubernetesHost?: string | undefined
}

/** Signs, in words, that this is the inside of a container; empty on a plain or virtual machine. */
export function containerSigns(evidence: ContainerEvidence): readonly string[] {
  const signs: string[] = []
  const manager = /\/(docker|kubepods|libpod|lxc|containerd|crio|actions_job)[-./:]/.exec(
    evidence.initCgroup ?? '',
  )?.[1]
  if (manager) signs.push(`process 1 is in a ${manager} control group`)
  if (evidence.hasContainerEnv) signs.push('/run/.containerenv exists')
  if (evidence.systemdContainer?.trim()) signs.push(`/run/systemd/container says ${evidence.systemdContainer.trim()}`)
  if (evidence.containerVariable) signs.push(`the environment has container=${evidence.containerVariable}`)
  const mounts = mountPoints(evidence.mountInfo ?? '')
  // Every OCI runtime gives these two files by bind mounts; a machine of its own has them on its root file system.
  if (mounts.has('/etc/hostname') && mounts.has('/etc/hosts')) signs.push('/etc/hosts and /etc/hostname are mounts')
  const root = mounts.get('/')
  if (evidence.hasDockerEnv && (root === 'overlay' || root === '9p' || root === 'fuse.fuse-overlayfs'))
    signs.push(`/.dockerenv exists and the root file system is ${root}`)
  if (evidence.kubernetesHost && mounts.has('/var/run/secrets/kubernetes.io/serviceaccount'))
    signs.push('a Kubernetes service account is mounted')
  return signs
}

/** Mount point to file system type; the last mount on a point wins. */
function mountPoints(mountInfo: string): ReadonlyMap<string, string> {
  const points = new Map<string, string>()
  for (const line of mountInfo.split('\n')) {
    const [left, right] = line.split(' - ')
    const point = left?.split(' ')[4]
    const type = right?.split(' ')[0]
    if (point && type) points.set(point.replace(/^\/run\/secrets/, '/var/run/secrets'), type)
  }
  return points
}
