import { AnyplaceError } from '../../spec/index.ts'

/** Why a private key could not be read; `data.cause` tells a program. None says anything of what the file holds. */

/** @returns `invalid-argument` */
export function keyFault(why: string, hint?: string): AnyplaceError {
  return new AnyplaceError('invalid-argument', `This is not a private key that can be read: ${why}.`, {
    field: 'privateKey',
    hint: hint ?? 'give the file that ssh-keygen made, whole and unchanged',
    data: { cause: 'damaged' },
  })
}

/** @returns `unsupported` */
export function unsupportedKey(
  what: string,
  hint = 'use an Ed25519 or RSA key: anyplace keys generate NAME',
): AnyplaceError {
  return new AnyplaceError('unsupported', `Anyplace cannot use ${what}.`, { field: 'privateKey', hint })
}

/** @returns `invalid-argument` with cause `passphrase-needed` */
export function passphraseNeeded(): AnyplaceError {
  return new AnyplaceError('invalid-argument', 'This private key is encrypted, and no passphrase was given.', {
    field: 'passphrase',
    hint: 'give its passphrase',
    data: { cause: 'passphrase-needed' },
  })
}

/** @returns `permission-denied` with cause `wrong-passphrase` */
export function wrongPassphrase(): AnyplaceError {
  return new AnyplaceError('permission-denied', 'The passphrase does not open this private key.', {
    field: 'passphrase',
    hint: 'check the passphrase; ssh-keygen -y -f FILE tries one without changing anything',
    data: { cause: 'wrong-passphrase' },
  })
}
