//! `auth`: which tokens are good.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;
use url::{Host, Url};

use super::{
    problem::{Problem, SettingsError},
    reader::{Section, secret_in},
    rule::{Rule, duration, one_of, readable_file, secret, text},
    shown,
};

/// Shortest secret for HMAC, as RFC 7518 wants it for HS256.
pub const MIN_SECRET_BYTES: usize = 32;

/// Keys and claims of tokens. The keys come from exactly one source: `secret`, `public_key_files` or
/// `jwks_url`.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Signature algorithms accepted, all of the kind of the keys. Default `HS256`.
    pub algorithms: Vec<Algorithm>,
    /// Verifies and signs HMAC tokens. At least 32 bytes.
    pub secret: Option<SecretString>,
    /// Verifies HMAC tokens too, while the secret is being replaced. At least 32 bytes.
    pub previous_secret: Option<SecretString>,
    /// The files that the two are read from, and read from again when they change.
    pub secret_files: SecretFiles,
    /// PEM files of one public key each. A token whose `kid` is the name of one of the files without its ending is checked
    /// with that key, any other with every key that fits its algorithm. Default none.
    pub public_key_files: Vec<PathBuf>,
    /// Where the issuer publishes its keys, as a JSON Web Key Set: HTTPS, or HTTP on this machine. Fetched at start, every
    /// five minutes and for a `kid` not seen before. Default none.
    pub jwks_url: Option<Url>,
    /// A file that keeps the last good key set, for a start while its server is away. Default none.
    pub jwks_cache_file: Option<PathBuf>,
    /// The claim that names the user. Default `sub`.
    pub user_claim: String,
    /// `iss` a token must have. Default: any.
    pub issuer: Option<String>,
    /// `aud` a token must have or list. Default: any.
    pub audience: Option<String>,
    /// How far clocks may be apart when a token is checked. 0 s to 30 s, default 5 s.
    pub leeway: Duration,
}

/// Files that hold the secrets, where they are given so.
#[derive(Debug, Clone, Default)]
pub struct SecretFiles {
    /// `auth.secret_file`.
    pub secret: Option<PathBuf>,
    /// `auth.previous_secret_file`.
    pub previous_secret: Option<PathBuf>,
}

/// How a token is signed (RFC 7518).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as RFC 7518 names them")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    const NAMES: &[(&str, Self)] = &[
        ("HS256", Self::HS256),
        ("HS384", Self::HS384),
        ("HS512", Self::HS512),
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("EdDSA", Self::EdDSA),
    ];

    /// Whether the key is a secret that both sides know.
    pub fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl Auth {
    /// Every file that keys come from.
    pub fn key_files(&self) -> impl Iterator<Item = &Path> {
        let SecretFiles { secret, previous_secret } = &self.secret_files;
        secret.iter().chain(previous_secret).chain(&self.public_key_files).map(PathBuf::as_path)
    }

    /// The same settings with the secrets that are in those files now.
    pub fn with_secrets_reread(&self) -> Result<Self, SettingsError> {
        let mut auth = self.clone();
        let mut problems = Vec::new();
        for (key, file, secret) in [
            ("auth.secret_file", &self.secret_files.secret, &mut auth.secret),
            ("auth.previous_secret_file", &self.secret_files.previous_secret, &mut auth.previous_secret),
        ] {
            let Some(path) = file else { continue };
            match reread(path) {
                Ok(found) => *secret = Some(found),
                Err(message) => problems.push(Problem::at(key, format!("{key}: {}", path.display()), message)),
            }
        }
        if problems.is_empty() { Ok(auth) } else { Err(SettingsError { problems }) }
    }

    pub(super) fn read(mut section: Section<'_>) -> Self {
        let secret_files =
            SecretFiles { secret: section.file_of("secret"), previous_secret: section.file_of("previous_secret") };
        Self {
            secret_files,
            algorithms: section.list("algorithms", "HS256", one_of(Algorithm::NAMES)),
            secret: section.secret("secret", secret(MIN_SECRET_BYTES), shown::nothing),
            previous_secret: section.secret("previous_secret", secret(MIN_SECRET_BYTES), shown::nothing),
            public_key_files: section.list("public_key_files", "", readable_file()),
            jwks_url: section.optional("jwks_url", key_set_url()),
            jwks_cache_file: section.optional("jwks_cache_file", text(4096)).map(PathBuf::from),
            user_claim: section.value("user_claim", "sub", text(128)),
            issuer: section.optional("issuer", text(512)),
            audience: section.optional("audience", text(512)),
            leeway: section.value("leeway", "5s", duration("0s", "30s")),
        }
    }
}

fn reread(path: &Path) -> Result<SecretString, String> {
    let text = secret_in(path).map_err(|error| format!("cannot be read: {error}"))?;
    let rule = secret(MIN_SECRET_BYTES);
    rule.parse(&text).ok_or_else(|| format!("must hold a secret {}", rule.allowed))
}

/// Over plain HTTP anybody on the way could put in a key of their own.
fn key_set_url() -> Rule<Url> {
    Rule::new("an https:// address, or http:// on this machine, without user and password", |text| {
        Url::parse(text).ok().filter(is_safe_key_set_url)
    })
}

/// Whether keys may be fetched from there; asked of redirects, too.
pub fn is_safe_key_set_url(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    let is_anonymous = url.username().is_empty() && url.password().is_none();
    is_anonymous && (url.scheme() == "https" || url.scheme() == "http" && is_local)
}
