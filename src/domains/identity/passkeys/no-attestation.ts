// Stands for those modules of @simplewebauthn/server that judge the make of a device by its manufacturer's certificates
// (wrangler.toml says so). Devices are asked for no attestation, and browsers take out what a device sends all the same.

/** Whoever sends an attestation that was not asked for is refused. */
function refuse(): never {
  throw new Error('the attestation was not asked for: send none')
}

export {
  refuse as convertX509PublicKeyToCOSE,
  refuse as getCertificateInfo,
  refuse as isCertRevoked,
  refuse as validateCertificatePath,
  refuse as validateExtFIDOGenCEAAGUID,
  refuse as verifyAttestationAndroidKey,
  refuse as verifyAttestationAndroidSafetyNet,
  refuse as verifyAttestationApple,
  refuse as verifyAttestationFIDOU2F,
  refuse as verifyAttestationTPM,
  refuse as verifyAttestationWithMetadata,
}

/** Of what the library lets one set, as it is by default without any certificate. */
export const SettingsService = {
  /** None of the algorithms that are asked for is a post-quantum one. */
  runtimeSupportsPQC: () => false,
  getRootCertificates: (): string[] => [],
}

/** Nothing is known of any make of device. */
export const MetadataService = { getStatement: () => Promise.resolve(undefined) }
