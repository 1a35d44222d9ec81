//! The hub's secrets, in `keys/` of its data folder: made at the first start, kept for its life.
//!
//! | file | what |
//! |---|---|
//! | `authority.key`, `authority.der` | the certificate authority of this hub's devices (ECDSA P-256, ten years) |
//! | `command.seed`, … | the Ed25519 keys that sign commands: see [`command`] |
//! | `audit.seed` | the seed of the Ed25519 key that signs the audit log's checkpoints and copies |

pub(crate) mod command;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use ring::digest;
use time::OffsetDateTime;
use wardline_event::{DeviceId, Timestamp, hex};
use wardline_wire::proto::SignedCommand;
use wardline_wire::{CommandSigner, HUB_TLS_NAME};

use self::command::CommandKeys;
pub use self::command::Rotated;
use crate::audit::seal::Signer;
use crate::clock::random_bytes;
use crate::scope::OrganisationId;
use crate::store::{StoreError, create_private_folder};

/// The files that a hub always has; the seeds have names of their own.
pub(crate) const ALWAYS: [&str; 2] = ["authority.key", "authority.der"];

/// How long a device's certificate is valid.
pub const DEVICE_CERTIFICATE_DAYS: i64 = 30;
const AUTHORITY_DAYS: i64 = 3653;
const SERVER_CERTIFICATE_DAYS: i64 = 397;
/// Certificates begin a little earlier, for devices whose clocks are behind.
const BACKDATE_S: i64 = 5 * 60;

/// The keys could not be made, kept or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file could not be written or read.
    #[error(transparent)]
    Folder(#[from] StoreError),
    /// A file is missing or holds something else.
    #[error(
        "{path} is missing or does not hold {what}; put it back from a backup. A new one would lock every enrolled device out"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A rotation while the one before is not over.
    #[error(
        "the key before is still obeyed until {until}: rotate again after that, or with `--overlap 0`, which ends it at once"
    )]
    Overlap {
        /// Until when.
        until: Timestamp,
    },
    /// The device's request for a certificate is not one, or does not prove that it holds the key.
    #[error(
        "the request for a certificate is not valid: it must be PKCS #10 in DER, signed with the device's own key"
    )]
    Request(#[source] rcgen::Error),
    /// A certificate could not be made.
    #[error("could not make a certificate")]
    Certificate(#[source] rcgen::Error),
}

/// The hub's secrets.
pub struct Keys {
    issuer: Issuer<'static, KeyPair>,
    authority: Vec<u8>,
    commands: CommandKeys,
    audit: Signer,
}

impl std::fmt::Debug for Keys {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys(authority {})", hex(&self.fingerprint()))
    }
}

/// The agent port's own key and certificate.
#[derive(Debug)]
pub struct ServerIdentity {
    /// DER: the server's certificate, then the authority's.
    pub chain: Vec<Vec<u8>>,
    /// PKCS #8, DER.
    pub key: Vec<u8>,
}

impl Keys {
    /// Reads the keys of a data folder.
    ///
    /// `first_start` is the time of the hub's very first start, when they are made. Later, what is missing is an
    /// error: a fresh authority would lock every device out, and a fresh seed would make them disobey.
    pub fn open(folder: &Path, first_start: Option<Timestamp>) -> Result<Self, KeyError> {
        let folder = folder.join("keys");
        let (key_path, cert_path) = (folder.join("authority.key"), folder.join("authority.der"));
        if let Some(now) = first_start {
            create_private_folder(&folder)?;
            // One without the other is left from a start that was cut off.
            if !(key_path.exists() && cert_path.exists()) {
                make_authority(&key_path, &cert_path, now)?;
            }
        }
        let pem = String::from_utf8(read(&key_path, "a private key")?).unwrap_or_default();
        let key = KeyPair::from_pem(&pem)
            .map_err(|_| KeyError::Damaged { path: key_path, what: "a private key" })?;
        let authority = read(&cert_path, "a certificate authority")?;
        let issuer = Issuer::from_ca_cert_der(&authority.as_slice().into(), key)
            .map_err(|_| KeyError::Damaged { path: cert_path, what: "a certificate authority" })?;

        let command = folder.join("command.seed");
        if first_start.is_some() && !command.exists() {
            write_private(&command, &random_bytes::<32>())?;
        }
        let audit = folder.join("audit.seed");
        if first_start.is_some() && !audit.exists() {
            write_private(&audit, &random_bytes::<32>())?;
        }
        let audit = Signer::from_seed(&read_seed(&audit)?);
        Ok(Self { issuer, authority, commands: CommandKeys::open(&folder)?, audit })
    }

    /// Signs the audit log's checkpoints and copies.
    pub fn audit(&self) -> &Signer {
        &self.audit
    }

    /// Makes the key of the audit log for a hub of a version that had none, before the hub opens its keys.
    pub fn complete(folder: &Path) -> Result<(), KeyError> {
        let audit = folder.join("keys/audit.seed");
        if !audit.exists() {
            write_private(&audit, &random_bytes::<32>())?;
        }
        Ok(())
    }

    /// The authority's certificate, DER.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// SHA-256 over the authority's certificate: what an enrolment token names.
    pub fn fingerprint(&self) -> [u8; 32] {
        digest::digest(&digest::SHA256, &self.authority).as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// Signs commands.
    pub fn signer(&self) -> Arc<CommandSigner> {
        self.commands.signer()
    }

    /// A command as it is sent to a device that obeys `key`: signed with the key that signs now, whichever signed it when
    /// it was stored. A device that does not say what it obeys cannot learn another key: while the one before is obeyed it
    /// is sent the command with both signatures, and takes the one that it knows.
    pub fn for_device(&self, key: &[u8], stored: &SignedCommand) -> Vec<SignedCommand> {
        let before = self.commands.before().filter(|_| key.is_empty());
        let signers = before.into_iter().chain([self.signer()]);
        signers.map(|signer| signer.sign_again(stored.command.clone())).collect()
    }

    /// The messages that lead a device from the key that it obeys to the one that signs now.
    pub fn lead(&self, key: &[u8]) -> Vec<SignedCommand> {
        self.commands.lead(key)
    }

    /// Takes up what `wardline hub keys rotate` did beside this hub. True if another key signs now.
    pub fn refresh(&self, now: Timestamp) -> Result<bool, KeyError> {
        self.commands.refresh(now)
    }

    /// Certifies a device's key. Of the request only the public key is used, and the proof that the sender
    /// holds the private one; who it is, the hub says.
    pub fn certify(
        &self,
        csr_der: &[u8],
        device: DeviceId,
        organisation: &OrganisationId,
        now: Timestamp,
    ) -> Result<Vec<u8>, KeyError> {
        let mut request =
            CertificateSigningRequestParams::from_der(&csr_der.into()).map_err(KeyError::Request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&device.to_string(), organisation.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        valid_for(&mut params, now, DEVICE_CERTIFICATE_DAYS);
        request.params = params;
        let certificate = request.signed_by(&self.issuer).map_err(KeyError::Certificate)?;
        Ok(certificate.der().to_vec())
    }

    /// A fresh key and certificate for the agent port, valid for [`HUB_TLS_NAME`] only: agents ask for that name
    /// whatever address they dial.
    pub fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, KeyError> {
        let key = KeyPair::generate().map_err(KeyError::Certificate)?;
        let mut params = CertificateParams::new([HUB_TLS_NAME.to_owned()]).map_err(KeyError::Certificate)?;
        params.distinguished_name = name("Wardline hub", "");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        valid_for(&mut params, now, SERVER_CERTIFICATE_DAYS);
        let certificate = params.signed_by(&key, &self.issuer).map_err(KeyError::Certificate)?;
        Ok(ServerIdentity {
            chain: vec![certificate.der().to_vec(), self.authority.clone()],
            key: key.serialize_der(),
        })
    }
}

/// Makes the next key that signs commands, in the data folder of a hub that may be running, which takes it up by itself.
pub fn rotate_command_key(folder: &Path, overlap_ms: i64, now: Timestamp) -> Result<Rotated, KeyError> {
    command::rotate(&folder.join("keys"), overlap_ms, now)
}

fn name(common: &str, organisation: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if !organisation.is_empty() {
        name.push(DnType::OrganizationName, organisation);
    }
    name
}

fn valid_for(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let at = |s: i64| OffsetDateTime::from_unix_timestamp(s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let now_s = now.0 / 1000;
    params.not_before = at(now_s - BACKDATE_S);
    params.not_after = at(now_s + days * 24 * 60 * 60);
    let mut serial = random_bytes::<16>();
    // RFC 5280, 4.1.2.2: positive, at most 20 octets.
    serial[0] = (serial[0] & 0x7f) | 1;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

fn make_authority(key_path: &Path, cert_path: &Path, now: Timestamp) -> Result<(), KeyError> {
    let key = KeyPair::generate().map_err(KeyError::Certificate)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("Wardline hub {}", hex(&random_bytes::<4>())), "");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, now, AUTHORITY_DAYS);
    let certificate = params.self_signed(&key).map_err(KeyError::Certificate)?;
    write_private(key_path, key.serialize_pem().as_bytes())?;
    write_private(cert_path, certificate.der())?;
    Ok(())
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, KeyError> {
    if !path.exists() {
        return Err(KeyError::Damaged { path: path.to_owned(), what });
    }
    std::fs::read(path)
        .map_err(|source| StoreError::Folder { doing: "read", path: path.to_owned(), source }.into())
}

/// Puts the key files of a backup into a data folder.
pub(crate) fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
    let folder = folder.join("keys");
    create_private_folder(&folder)?;
    for (name, bytes) in files {
        write_private(&folder.join(name), bytes)?;
    }
    Ok(())
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    crate::store::write_private(path, bytes).map_err(|source| StoreError::Folder {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

/// Reads the seed of a signing key.
fn read_seed(path: &Path) -> Result<[u8; 32], KeyError> {
    let what = "a seed of 32 bytes";
    read(path, what)?.try_into().map_err(|_| KeyError::Damaged { path: path.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn keys_are_made_once_and_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::open(folder.path(), Some(NOW)).unwrap();
        let again = Keys::open(folder.path(), None).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(first.signer().key(), again.signer().key());
        #[cfg(unix)]
        for file in std::fs::read_dir(folder.path().join("keys")).unwrap() {
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&file.unwrap().metadata().unwrap().permissions());
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_damaged_or_missing_key_is_named_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        drop(Keys::open(folder.path(), Some(NOW)).unwrap());
        for (file, what) in [
            ("keys/command.seed", "a seed of 32 bytes"),
            ("keys/authority.der", "a certificate authority"),
            ("keys/authority.key", "a private key"),
        ] {
            let path = folder.path().join(file);
            let kept = std::fs::read(&path).unwrap();
            std::fs::write(&path, b"short").unwrap();
            let damaged = Keys::open(folder.path(), None).unwrap_err().to_string();
            assert!(damaged.contains(file) && damaged.contains(what), "{damaged}");
            assert_eq!(std::fs::read(&path).unwrap(), b"short");
            std::fs::remove_file(&path).unwrap();
            let missing = Keys::open(folder.path(), None).unwrap_err().to_string();
            assert!(missing.contains(file) && missing.contains(what), "{missing}");
            assert!(!path.exists());
            std::fs::write(&path, kept).unwrap();
        }
        Keys::open(folder.path(), None).unwrap();
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_finished_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        drop(Keys::open(folder.path(), Some(NOW)).unwrap());
        for file in ["authority.der", "authority.key", "command.seed"] {
            std::fs::remove_file(folder.path().join("keys").join(file)).unwrap();
            drop(Keys::open(folder.path(), Some(NOW)).unwrap());
            Keys::open(folder.path(), None).unwrap();
        }
    }

    #[test]
    fn a_request_must_prove_that_the_sender_holds_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path(), Some(NOW)).unwrap();
        let organisation = OrganisationId::stored("o1");
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        assert!(keys.certify(&csr, DeviceId(1), &organisation, NOW).is_ok());
        let mut forged = csr;
        *forged.last_mut().unwrap() ^= 1;
        assert!(matches!(keys.certify(&forged, DeviceId(1), &organisation, NOW), Err(KeyError::Request(_))));
        assert!(matches!(keys.certify(b"hello", DeviceId(1), &organisation, NOW), Err(KeyError::Request(_))));
    }
}
