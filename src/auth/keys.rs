//! The keys tokens are verified with, each with the algorithms it may be used for. They come from the settings only: what a token
//! says of keys (`jku`, `jwk`, `x5u`, …) is never read, and its `kid` is nothing but a name to look up here.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey, Header, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::{Algorithm, Auth, Problem, SettingsError};

/// What a PEM file must hold.
const KEY_WANTED: &str = "must hold one PEM public key: RSA of at least 2048 bits, EC on P-256 or P-384, or Ed25519";

/// Shorter RSA keys are not to be used (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// Keys of a set that are looked at.
const MAX_SET_KEYS: usize = 100;

/// One key, fit for one family of algorithms.
pub(super) struct Key {
    kid: Option<String>,
    pub(super) key: DecodingKey,
    pub(super) validation: Validation,
}

/// All keys of an instance.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Every key of the settings; all that is wrong with them at once.
    pub(super) fn new(auth: &Auth) -> Result<Self, SettingsError> {
        let secrets = auth.secret.iter().chain(&auth.previous_secret).map(|secret| Ok(hmac(secret, auth)));
        let files = auth.public_key_files.iter().map(|path| public(path, auth));
        let (mut keys, mut problems) = (Vec::new(), Vec::new());
        for key in secrets.chain(files) {
            match key {
                Ok(key) => keys.push(key),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            problems.extend(unserved(&keys, auth));
            problems.extend(repeated(&keys));
        }
        if problems.is_empty() { Ok(Self(keys)) } else { Err(SettingsError { problems }) }
    }

    /// The keys of a JSON Web Key Set (RFC 7517) that can be used here; what cannot (secrets, keys for encryption, other
    /// kinds, RSA below 2048 bits) is passed over. An error if nothing is left.
    pub(super) fn of_set(set: &[u8], auth: &Auth) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(set).map_err(|_| "the answer is no JSON Web Key Set")?;
        let jwks = set.keys.into_iter().take(MAX_SET_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: Vec<_> = jwks.filter_map(|jwk| web_key(&jwk, auth)).collect();
        if keys.is_empty() { Err("the key set has no key for auth.algorithms") } else { Ok(Self(keys)) }
    }

    /// Whether a key has this name.
    pub(super) fn has(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys to try: the one the token's `kid` names, or else every key for its algorithm.
    pub(super) fn candidates(&self, header: &Header) -> impl Iterator<Item = &Key> {
        let named = self.0.iter().find(|key| header.kid.is_some() && key.kid == header.kid);
        let fits = move |key: &&Key| {
            key.validation.algorithms.contains(&header.alg) && named.is_none_or(|named| named.kid == key.kid)
        };
        self.0.iter().filter(fits)
    }
}

fn web_key(jwk: &Jwk, auth: &Auth) -> Option<Key> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    if matches!(&jwk.common.public_key_use, Some(other) if *other != PublicKeyUse::Signature) {
        return None;
    }
    let fit: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(rsa.n.trim_end_matches('=')).ok()?;
            (bits(&modulus) >= MIN_RSA_BITS).then_some([RS256, RS384, RS512, PS256, PS384, PS512].as_slice())?
        }
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => &[EdDSA],
        // A secret that everybody can fetch is none.
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
    let serves = |algorithm: &Algorithm| {
        fit.contains(algorithm) && named.as_ref().is_none_or(|named| *named == format!("{algorithm:?}"))
    };
    let algorithms: Vec<_> = auth.algorithms.iter().copied().filter(serves).collect();
    if algorithms.is_empty() {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { kid: jwk.common.key_id.clone(), key, validation: validation(&algorithms, auth) })
}

fn hmac(secret: &SecretString, auth: &Auth) -> Key {
    let algorithms = auth.algorithms.iter().copied().filter(|algorithm| algorithm.is_hmac()).collect::<Vec<_>>();
    let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
    Key { kid: None, key, validation: validation(&algorithms, auth) }
}

fn public(path: &Path, auth: &Auth) -> Result<Key, Problem> {
    let problem = |message: &str| {
        Problem::at("auth.public_key_files", format!("auth.public_key_files: {}", path.display()), message)
    };
    let pem = fs::read_to_string(path).map_err(|error| problem(&format!("cannot be read: {error}")))?;
    if pem.contains("PRIVATE KEY-----") {
        return Err(problem("holds a private key, which belongs to the issuer alone; give its public key"));
    }
    let (key, fit) = parse(pem.as_bytes()).ok_or_else(|| problem(KEY_WANTED))?;
    let algorithms: Vec<_> = auth.algorithms.iter().copied().filter(|algorithm| fit.contains(algorithm)).collect();
    if algorithms.is_empty() {
        return Err(problem(&format!("auth.algorithms names none that this key is for, such as {:?}", fit[0])));
    }
    let kid = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(Key { kid, key, validation: validation(&algorithms, auth) })
}

/// A public key and the algorithms it is for.
fn parse(pem: &[u8]) -> Option<(DecodingKey, &'static [Algorithm])> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        let modulus = key.try_get_as_bytes().ok().and_then(modulus)?;
        return (bits(modulus) >= MIN_RSA_BITS).then_some((key, &[RS256, RS384, RS512, PS256, PS384, PS512]));
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        // An uncompressed point: 1 + 2 × 32 or 48 bytes.
        return match key.try_get_as_bytes().map_or(0, <[u8]>::len) {
            65 => Some((key, &[ES256])),
            97 => Some((key, &[ES384])),
            _ => None,
        };
    }
    DecodingKey::from_ed_pem(pem).ok().map(|key| (key, [EdDSA].as_slice()))
}

/// The modulus of an RSA key's DER: the first integer of a sequence (RFC 8017, A.1.1).
fn modulus(der: &[u8]) -> Option<&[u8]> {
    content(content(der, 0x30)?, 0x02)
}

/// What the value of this kind holds that DER begins with.
fn content(der: &[u8], kind: u8) -> Option<&[u8]> {
    let (&[first, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match usize::from(length) {
        length @ ..0x80 => (length, rest),
        bytes => {
            let (length, rest) = rest.split_at_checked(bytes & 0x7f)?;
            (length.iter().fold(0, |length, byte| (length << 8) + usize::from(*byte)), rest)
        }
    };
    rest.get(..length).filter(|_| first == kind)
}

/// How many bits a number takes.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    number.first().map_or(0, |first| 8 * number.len() - first.leading_zeros() as usize)
}

/// Signature, `iss` and `aud` are checked by the library; times by us, at the time we are given.
fn validation(algorithms: &[Algorithm], auth: &Auth) -> Validation {
    let mut validation = Validation {
        algorithms: algorithms.iter().map(|algorithm| wire(*algorithm)).collect(),
        validate_exp: false,
        validate_nbf: false,
        validate_aud: auth.audience.is_some(),
        ..Validation::default()
    };
    validation.required_spec_claims.clear();
    if let Some(issuer) = &auth.issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    if let Some(audience) = &auth.audience {
        validation.set_audience(&[audience]);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    validation
}

fn unserved(keys: &[Key], auth: &Auth) -> Vec<Problem> {
    let is_served = |algorithm: Algorithm| keys.iter().any(|key| key.validation.algorithms.contains(&wire(algorithm)));
    let problem = |algorithm| Problem::at("auth.algorithms", "auth.algorithms", format!("no key is for {algorithm:?}"));
    auth.algorithms.iter().copied().filter(|algorithm| !is_served(*algorithm)).map(problem).collect()
}

fn repeated(keys: &[Key]) -> Option<Problem> {
    let mut kids: Vec<_> = keys.iter().filter_map(|key| key.kid.as_deref()).collect();
    kids.sort_unstable();
    let kid = kids.windows(2).find(|pair| pair[0] == pair[1])?[0];
    let message = format!("two files have the kid {kid:?} (the file's name without its ending)");
    Some(Problem::at("auth.public_key_files", "auth.public_key_files", message))
}

/// The library's name of an algorithm.
pub(super) fn wire(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modulus_stands_first_in_der_however_its_length_is_told_and_what_is_no_der_has_none() {
        assert_eq!(modulus(&[0x30, 6, 2, 1, 5, 2, 1, 3]), Some(&[5][..]));
        assert_eq!(modulus(&[0x30, 0x81, 5, 2, 0x82, 0, 1, 5]), Some(&[5][..]));
        let long = [&[0x30, 0x82, 1, 8, 2, 0x82, 1, 4][..], &[7; 260]].concat();
        assert_eq!(modulus(&long), Some(&[7; 260][..]));
        let endless = [0x30, 0xff].into_iter().chain([0xff; 127]).collect::<Vec<_>>();
        let none: [&[u8]; 8] = [
            &[],
            &[0x30],
            &[0x30, 4, 2, 1, 5],
            &[0x30, 3, 2, 2, 5],
            &[0x31, 3, 2, 1, 5],
            &[0x30, 3, 4, 1, 5],
            &[0x30, 0x82, 1],
            &endless,
        ];
        for der in none {
            assert_eq!(modulus(der), None, "{der:?}");
        }
    }

    #[test]
    fn zeros_in_front_of_a_number_are_none_of_its_bits() {
        let numbers: [&[u8]; 6] = [&[], &[0, 0], &[0, 1], &[0x80], &[1, 0], &[0, 0xff, 0]];
        assert_eq!(numbers.map(bits), [0, 0, 1, 8, 9, 16]);
    }
}
