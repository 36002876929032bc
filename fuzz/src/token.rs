//! A token: nothing is accepted but what was signed with our secret, whatever its header says of algorithms and keys; and what
//! is accepted says what its claims say.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ordercast::{
    auth::{MAX_ORDERS, MAX_TOKEN_BYTES, Principal, TokenError, Verifier},
    config::{self, Sources},
    domain::{Timestamp, Viewer},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW_SECONDS: i64 = 1_795_253_400;
const LEEWAY_SECONDS: f64 = 5.0;
const CLAIMS: &str = r#"{"sub":"u-42","exp":1795257000}"#;
/// The public key of RFC 7515, A.3, under the name of a key of ours. Nobody here can sign for it.
const KEY_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"es","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

struct Verifiers {
    of_the_secret: Verifier,
    of_the_key_set: Verifier,
}

static VERIFIERS: LazyLock<Verifiers> = LazyLock::new(|| {
    let of_the_key_set = verifier(&[("auth.jwks_url", "https://login.example/keys"), ("auth.algorithms", "ES256")]);
    of_the_key_set.take_key_set(KEY_SET.as_bytes()).expect("the set has a key");
    Verifiers { of_the_secret: verifier(&[("auth.secret", SECRET)]), of_the_key_set }
});

fn verifier(settings: &[(&str, &str)]) -> Verifier {
    let environment = settings.iter().map(|(key, value)| (config::variable(key), (*value).to_owned())).collect();
    let settings = config::load(&Sources { environment, ..Sources::default() }, &[]).expect("the settings are good");
    Verifier::new(&settings.auth).expect("the settings are good")
}

/// The input is a token, then the header of one, then the claims of one.
pub fn check(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(principal) = verify(text)
    {
        let (signed, signature) = text.rsplit_once('.').expect("a token has three parts");
        assert_eq!(URL_SAFE_NO_PAD.decode(signature), Ok(hmac(SECRET.as_bytes(), signed).to_vec()));
        check_principal(&principal, text);
    }
    check_header(input);
    let token = sign(br#"{"alg":"HS256"}"#, input, SECRET.as_bytes());
    if let Ok(principal) = verify(&token) {
        check_principal(&principal, &token);
    }
}

/// What the one with the secret says; the one with the key set accepts nothing, ever.
fn verify(token: &str) -> Result<Principal, TokenError> {
    let now = Timestamp::from_millis(NOW_SECONDS * 1000).expect("is in range");
    let Verifiers { of_the_secret, of_the_key_set } = &*VERIFIERS;
    assert!(of_the_key_set.verify(token, now).is_err(), "nobody has signed {token}");
    let verified = of_the_secret.verify(token, now);
    assert_eq!(verified, of_the_secret.verify(token, now), "the same token gets the same answer");
    match &verified {
        Ok(_) => assert!(token.len() <= MAX_TOKEN_BYTES),
        // A short one may be among its words.
        Err(error) => assert!(!error.to_string().contains(token) || token.len() < 32, "the token is not quoted"),
    }
    verified
}

fn check_header(header: &[u8]) {
    let unsigned = [encode(header), encode(CLAIMS.as_bytes())].join(".");
    let point = URL_SAFE_NO_PAD.decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU").expect("is base64");
    for forged in [
        unsigned.clone(),
        format!("{unsigned}."),
        format!("{unsigned}.{}", encode(&[0; 32])),
        format!("{unsigned}.{}", encode(&[0; 64])),
        sign(header, CLAIMS.as_bytes(), b""),
        sign(header, CLAIMS.as_bytes(), KEY_SET.as_bytes()),
        sign(header, CLAIMS.as_bytes(), &point),
    ] {
        assert!(verify(&forged).is_err(), "{forged} was not signed with the secret");
    }
    let signed = sign(header, CLAIMS.as_bytes(), SECRET.as_bytes());
    if verify(&signed).is_ok() {
        let header: Value = serde_json::from_slice(header).expect("a header is JSON");
        assert_eq!(header["alg"], "HS256");
        assert!(header["crit"].is_null(), "extensions are not known");
    }
}

fn check_principal(principal: &Principal, token: &str) {
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok()).expect("is base64");
    let claims: Value = serde_json::from_slice(&claims).expect("claims are JSON");
    let seconds = |name: &str| claims[name].as_f64();
    assert!(seconds("exp").expect("it expires") + LEEWAY_SECONDS > NOW_SECONDS as f64 - 0.001);
    assert!(seconds("nbf").is_none_or(|begin| begin < NOW_SECONDS as f64 + LEEWAY_SECONDS + 1.0));
    assert!(seconds("iat").is_none_or(|issued| issued < NOW_SECONDS as f64 + LEEWAY_SECONDS + 1.0));
    assert_eq!(principal.issued_at.is_some(), !claims["iat"].is_null());
    assert_eq!(principal.token_id.is_some(), !claims["jti"].is_null());
    match &principal.viewer {
        Viewer::User { id, only } => {
            let said = claims["sub"].as_str().map_or_else(|| claims["sub"].to_string(), str::to_owned);
            assert_eq!(id.as_str(), said);
            assert_eq!(only.is_some(), !claims["orders"].is_null());
        }
        Viewer::Link { orders } => {
            assert!(claims["sub"].is_null() && !orders.is_empty());
        }
    }
    let listed = principal.viewer.listed_orders();
    assert!(listed.is_none_or(|orders| orders.len() <= MAX_ORDERS));
}

fn sign(header: &[u8], claims: &[u8], key: &[u8]) -> String {
    let signed = [encode(header), encode(claims)].join(".");
    let signature = encode(&hmac(key, &signed));
    [signed, signature].join(".")
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// HMAC-SHA256 (RFC 2104), not that of the library under test.
fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mut block = [0; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}
