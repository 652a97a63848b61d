import { describe, expect, it } from 'vitest'
import { containerSigns } from './container-signs.ts'

const none = { hasDockerEnv: false, hasContainerEnv: false }
const mount = (point: string, type: string) => `21 1 254:0 / ${point} rw,relatime shared:1 - ${type} source rw\n`

describe('containerSigns', () => {
  it('finds none on a plain machine, nor on a virtual machine made from a container image', () => {
    const mountInfo = mount('/', 'ext4') + mount('/proc', 'proc')
    expect(containerSigns({ ...none, mountInfo, initCgroup: '0::/init.scope\n' })).toEqual([])
    expect(
      containerSigns({ ...none, hasDockerEnv: true, mountInfo, initCgroup: '4:memory:/process_api/17\n' }),
    ).toEqual([])
  })

  it('does not take an overlay root alone for a container', () => {
    expect(containerSigns({ ...none, mountInfo: mount('/', 'overlay') })).toEqual([])
  })

  it.each([
    ['the control group', { initCgroup: '9:cpu:/docker/0123abc\n' }, 'docker control group'],
    ['a pod', { initCgroup: '0::/kubepods.slice/kubepods-pod1.slice\n' }, 'kubepods control group'],
    ['Podman', { hasContainerEnv: true }, '.containerenv'],
    ['nspawn', { systemdContainer: 'systemd-nspawn\n' }, 'says systemd-nspawn'],
    ['the variable', { containerVariable: 'podman' }, 'container=podman'],
    ['bound files', { mountInfo: mount('/etc/hosts', 'ext4') + mount('/etc/hostname', 'ext4') }, 'are mounts'],
    ['Docker with a private cgroup namespace', { hasDockerEnv: true, mountInfo: mount('/', 'overlay') }, 'overlay'],
    ['gVisor', { hasDockerEnv: true, mountInfo: mount('/', '9p') }, '9p'],
    [
      'a pod of any runtime',
      { kubernetesHost: '10.0.0.1', mountInfo: mount('/run/secrets/kubernetes.io/serviceaccount', 'tmpfs') },
      'service account',
    ],
  ])('tells %s', (_name, evidence, sign) => {
    expect(containerSigns({ ...none, ...evidence }).join('; ')).toContain(sign)
  })
})
