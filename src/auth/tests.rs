//! Tokens good and bad, at a time the tests choose.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{Flaw, Grant, MAX_ORDERS, MAX_TOKEN_BYTES, Principal, Signer, TokenError, Verifier, error::TOO_LARGE};
use crate::{
    config::{self, Auth, SettingsError, Sources, variable},
    domain::{OrderId, Timestamp, UserId, Viewer},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OLD_SECRET: &str = "fedcba9876543210fedcba9876543210";
/// 2026-11-21T09:30:00Z
const NOW: i64 = 1_795_253_400;
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/");

fn settings(variables: &[(&str, &str)]) -> Result<Auth, SettingsError> {
    let environment = variables.iter().map(|(key, value)| (variable(key), (*value).to_owned())).collect();
    config::load(&Sources { environment, ..Sources::default() }, &[]).map(|settings| settings.auth)
}

fn verifier(variables: &[(&str, &str)]) -> Verifier {
    Verifier::new(&settings(variables).unwrap()).unwrap()
}

fn hmac_verifier(more: &[(&str, &str)]) -> Verifier {
    verifier(&[&[("auth.secret", SECRET)], more].concat())
}

fn files(names: &[&str]) -> String {
    names.iter().map(|name| format!("{KEYS}{name}.pem")).collect::<Vec<_>>().join(",")
}

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(format!("{KEYS}{name}.pem")).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1000).unwrap()
}

fn hmac(header: &Header, claims: &Value, secret: &str) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// A good token's claims, with `change` over them.
fn claims(change: Value) -> Value {
    let mut claims = json!({ "sub": "u-42", "exp": NOW + 60 });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn verify(verifier: &Verifier, claims: &Value) -> Result<Principal, TokenError> {
    verifier.verify(&hmac(&Header::default(), claims, SECRET), now())
}

fn user(id: &str) -> Viewer {
    Viewer::User { id: UserId::parse(id).unwrap(), only: None }
}

#[test]
fn a_good_token_speaks_for_its_user_until_it_expires() {
    let token = claims(json!({ "iat": NOW - 10, "jti": "t-1", "nbf": NOW }));
    let principal = verify(&hmac_verifier(&[]), &token).unwrap();
    assert_eq!(principal.viewer, user("u-42"));
    assert_eq!(principal.expires_at.as_millis(), (NOW + 60) * 1000);
    assert_eq!(principal.issued_at.unwrap().as_millis(), (NOW - 10) * 1000);
    assert_eq!(principal.token_id.as_deref(), Some("t-1"));
}

#[test]
fn the_user_may_be_a_number_or_any_text_that_is_an_id() {
    for (claim, id) in
        [(json!(42), "42"), (json!(-1), "-1"), (json!("Zoë 🛵"), "Zoë 🛵"), (json!(u64::MAX), "18446744073709551615")]
    {
        let principal = verify(&hmac_verifier(&[]), &claims(json!({ "sub": claim }))).unwrap();
        assert_eq!(principal.viewer, user(id));
    }
    let named = hmac_verifier(&[("auth.user_claim", "https://shop.example/uid")]);
    let token = claims(json!({ "sub": "someone else", "https://shop.example/uid": 7 }));
    assert_eq!(verify(&named, &token).unwrap().viewer, user("7"));
}

#[test]
fn a_list_of_orders_narrows_a_user_and_without_a_user_makes_a_link() {
    let orders = |ids: &[&str]| std::sync::Arc::new(ids.iter().map(|id| OrderId::parse(id).unwrap()).collect());
    let verifier = hmac_verifier(&[]);
    for (change, viewer) in [
        (
            json!({ "orders": ["A-1", 7, "A-1"] }),
            Viewer::User { id: UserId::parse("u-42").unwrap(), only: Some(orders(&["A-1", "7"])) },
        ),
        (json!({ "orders": [] }), Viewer::User { id: UserId::parse("u-42").unwrap(), only: Some(orders(&[])) }),
        (json!({ "orders": null }), user("u-42")),
        (json!({ "sub": null, "orders": ["A-1"] }), Viewer::Link { orders: orders(&["A-1"]) }),
    ] {
        assert_eq!(verify(&verifier, &claims(change.clone())).unwrap().viewer, viewer, "{change}");
    }
}

#[test]
fn claims_that_are_not_what_they_must_be_make_a_token_invalid() {
    let strict = hmac_verifier(&[("auth.issuer", "https://login.example"), ("auth.audience", "orders")]);
    let many: Vec<_> = (0..=MAX_ORDERS).collect();
    for (change, flaw) in [
        (json!({ "exp": null }), Flaw::Expiry),
        (json!({ "exp": (NOW + 60).to_string() }), Flaw::Expiry),
        (json!({ "exp": (NOW + 60) * 1000 }), Flaw::Expiry),
        (json!({ "exp": 1e300 }), Flaw::Expiry),
        (json!({ "exp": i64::MAX }), Flaw::Expiry),
        (json!({ "exp": [NOW + 60] }), Flaw::Malformed),
        (json!({ "nbf": NOW + 6 }), Flaw::NotBefore),
        (json!({ "nbf": "0" }), Flaw::NotBefore),
        (json!({ "nbf": NOW * 1000 }), Flaw::NotBefore),
        (json!({ "iat": "yesterday" }), Flaw::IssuedAt),
        (json!({ "iat": NOW + 6 }), Flaw::IssuedAt),
        (json!({ "iat": NOW + 60, "exp": NOW }), Flaw::IssuedAt),
        (json!({ "jti": ["t"] }), Flaw::TokenId),
        (json!({ "sub": null }), Flaw::Nobody),
        (json!({ "sub": null, "orders": [] }), Flaw::Nobody),
        (json!({ "sub": "" }), Flaw::User),
        (json!({ "sub": "a\u{0}b" }), Flaw::User),
        (json!({ "sub": "x".repeat(129) }), Flaw::User),
        (json!({ "sub": 4.5 }), Flaw::User),
        (json!({ "sub": true, "orders": ["A-1"] }), Flaw::User),
        (json!({ "orders": "A-1" }), Flaw::Orders),
        (json!({ "orders": ["A-1", null] }), Flaw::Orders),
        (json!({ "orders": [""] }), Flaw::Orders),
        (json!({ "orders": many }), Flaw::Orders),
        (json!({ "iss": null }), Flaw::Issuer),
        (json!({ "iss": "https://evil.example" }), Flaw::Issuer),
        (json!({ "iss": "https://login.example/" }), Flaw::Issuer),
        (json!({ "iss": 5 }), Flaw::Issuer),
        (json!({ "aud": null }), Flaw::Audience),
        (json!({ "aud": "payments" }), Flaw::Audience),
        (json!({ "aud": ["payments", "Orders"] }), Flaw::Audience),
        (json!({ "aud": [] }), Flaw::Audience),
    ] {
        let mut token = claims(json!({ "iss": "https://login.example", "aud": "orders" }));
        assert!(verify(&strict, &token).is_ok());
        for (name, value) in change.as_object().unwrap() {
            token[name] = value.clone();
        }
        assert_eq!(verify(&strict, &token), Err(TokenError::Invalid(flaw)), "{change}");
    }
}

#[test]
fn an_audience_may_be_one_of_a_list_and_counts_only_when_configured() {
    let strict = hmac_verifier(&[("auth.audience", "orders")]);
    assert!(verify(&strict, &claims(json!({ "aud": ["payments", "orders"] }))).is_ok());
    assert!(verify(&hmac_verifier(&[]), &claims(json!({ "aud": "payments", "iss": "anyone" }))).is_ok());
}

#[test]
fn leeway_is_granted_at_both_ends_and_no_more() {
    let verifier = hmac_verifier(&[("auth.leeway", "5s")]);
    for (change, wanted) in [
        (json!({ "exp": NOW - 4 }), Ok(())),
        (json!({ "exp": NOW - 5 }), Err(TokenError::Expired)),
        (json!({ "exp": NOW as f64 - 4.5 }), Ok(())),
        (json!({ "exp": -1 }), Err(TokenError::Expired)),
        (json!({ "nbf": NOW + 5 }), Ok(())),
        (json!({ "nbf": NOW + 6 }), Err(TokenError::Invalid(Flaw::NotBefore))),
        (json!({ "iat": NOW + 5 }), Ok(())),
        (json!({ "iat": NOW as f64 + 5.5 }), Err(TokenError::Invalid(Flaw::IssuedAt))),
        (json!({ "iat": NOW + 6 }), Err(TokenError::Invalid(Flaw::IssuedAt))),
        (json!({ "exp": NOW - 60, "sub": null }), Err(TokenError::Invalid(Flaw::Nobody))),
    ] {
        assert_eq!(verify(&verifier, &claims(change.clone())).map(drop), wanted, "{change}");
    }
    let strict = hmac_verifier(&[("auth.leeway", "0s")]);
    assert_eq!(verify(&strict, &claims(json!({ "exp": NOW }))).map(drop), Err(TokenError::Expired));
    assert!(verify(&strict, &claims(json!({ "exp": NOW + 1, "nbf": NOW }))).is_ok());
}

#[test]
fn an_expired_token_with_a_bad_signature_is_invalid_not_expired() {
    let token = hmac(&Header::default(), &claims(json!({ "exp": NOW - 60 })), OLD_SECRET);
    assert_eq!(hmac_verifier(&[]).verify(&token, now()), Err(TokenError::Invalid(Flaw::Signature)));
}

#[test]
fn without_the_key_nobody_learns_what_else_is_wrong_with_a_token() {
    let strict = hmac_verifier(&[("auth.issuer", "https://login.example"), ("auth.audience", "orders")]);
    for change in [
        json!({}),
        json!({ "exp": NOW - 60 }),
        json!({ "exp": null }),
        json!({ "nbf": NOW + 60 }),
        json!({ "iss": "https://evil.example" }),
        json!({ "aud": "payments" }),
        json!({ "sub": null }),
        json!({ "orders": "A-1" }),
    ] {
        let mut token = claims(json!({ "iss": "https://login.example", "aud": "orders" }));
        for (name, value) in change.as_object().unwrap() {
            token[name] = value.clone();
        }
        let forged = strict.verify(&hmac(&Header::default(), &token, OLD_SECRET), now());
        assert_eq!(forged, Err(TokenError::Invalid(Flaw::Signature)), "{change}");
    }
}

/// The shortest of many times is what the work itself takes; what the machine does besides only adds to it.
#[test]
fn a_forged_token_takes_as_long_wherever_it_is_wrong() {
    let verifier = hmac_verifier(&[]);
    let good = hmac(&Header::default(), &claims(json!({})), SECRET);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let wrong_at = |place: usize| {
        let mut signature = signature.clone();
        signature[place] ^= 1;
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let expired = hmac(&Header::default(), &claims(json!({ "exp": NOW - 60 })), OLD_SECRET);
    let forged = [wrong_at(0), wrong_at(15), wrong_at(31), expired];
    let mut shortest = [Duration::MAX; 4];
    for _ in 0..500 {
        for (shortest, token) in shortest.iter_mut().zip(&forged) {
            let begun = Instant::now();
            let refused = verifier.verify(token, now());
            *shortest = begun.elapsed().min(*shortest);
            assert_eq!(refused, Err(TokenError::Invalid(Flaw::Signature)));
        }
    }
    let (least, most) = (shortest.iter().min().unwrap(), shortest.iter().max().unwrap());
    assert!(*most < *least * 3 / 2, "{shortest:?}");
}

#[test]
fn what_is_no_token_is_invalid_and_what_is_too_large_is_not_looked_at() {
    let verifier = hmac_verifier(&[]);
    let good = hmac(&Header::default(), &claims(json!({})), SECRET);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let payload = head.split_once('.').unwrap().1;
    // {"alg":"none"}
    let unsigned = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let unsigned_but_signed = format!("eyJhbGciOiJub25lIn0.{payload}.{signature}");
    for bad in [
        "",
        ".",
        "..",
        "a.b.c",
        "no token",
        "🛵.🛵.🛵",
        &unsigned,
        &unsigned_but_signed,
        &good[1..],
        &format!("{good}.x"),
        &format!("{head} .{signature}"),
        head,
    ] {
        assert!(matches!(verifier.verify(bad, now()), Err(TokenError::Invalid(_))), "{bad}");
    }
    assert!(verifier.verify(&format!("\t{good}\r\n"), now()).is_ok(), "white space around it is none of it");
    assert_eq!(verifier.verify(&format!("{head}."), now()), Err(TokenError::Invalid(Flaw::Signature)));
    assert_eq!(
        verifier.verify(&format!("{head}.{}", &signature[4..]), now()),
        Err(TokenError::Invalid(Flaw::Signature))
    );
    assert_eq!(verifier.verify(&"x".repeat(8 * 1024 + 1), now()), Err(TokenError::Malformed(TOO_LARGE)));
    let list = hmac(&Header::default(), &json!(["u-42"]), SECRET);
    assert_eq!(verifier.verify(&list, now()), Err(TokenError::Invalid(Flaw::Malformed)));
}

#[test]
fn extensions_a_token_calls_critical_are_refused_and_keys_it_brings_are_ignored() {
    let verifier = hmac_verifier(&[]);
    let critical = Header { crit: Some(vec!["b64".into()]), ..Header::default() };
    let token = hmac(&critical, &claims(json!({})), SECRET);
    assert_eq!(verifier.verify(&token, now()), Err(TokenError::Invalid(Flaw::Extension)));
    let url = Some("https://evil.example/keys".to_owned());
    let brings = Header { jku: url.clone(), x5u: url, kid: Some("../../etc/passwd".into()), ..Header::default() };
    assert!(verifier.verify(&hmac(&brings, &claims(json!({})), SECRET), now()).is_ok());
    assert_eq!(
        verifier.verify(&hmac(&brings, &claims(json!({})), OLD_SECRET), now()),
        Err(TokenError::Invalid(Flaw::Signature))
    );
}

#[test]
fn the_previous_secret_verifies_and_never_signs() {
    let variables = [("auth.secret", SECRET), ("auth.previous_secret", OLD_SECRET)];
    let (auth, verifier) = (settings(&variables).unwrap(), verifier(&variables));
    for secret in [SECRET, OLD_SECRET] {
        assert!(verifier.verify(&hmac(&Header::default(), &claims(json!({})), secret), now()).is_ok());
    }
    let grant = grant();
    let token = Signer::new(&auth).unwrap().sign(&grant);
    assert!(hmac_verifier(&[]).verify(&token, now()).is_ok());
}

fn grant() -> Grant {
    Grant {
        user: UserId::parse("u-42").ok(),
        orders: None,
        issued_at: now(),
        expires_at: Timestamp::from_millis((NOW + 3600) * 1000).unwrap(),
        token_id: Some("t-1".into()),
    }
}

#[test]
fn what_is_signed_is_verified_with_the_same_settings() {
    let variables = [
        ("auth.secret", SECRET),
        ("auth.algorithms", "HS512,HS256"),
        ("auth.user_claim", "uid"),
        ("auth.issuer", "me"),
        ("auth.audience", "orders"),
    ];
    let (auth, verifier) = (settings(&variables).unwrap(), verifier(&variables));
    let signer = Signer::new(&auth).unwrap();
    let token = signer.sign(&grant());
    assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, Algorithm::HS512);
    let principal = verifier.verify(&token, now()).unwrap();
    assert_eq!(
        (principal.viewer, principal.issued_at, principal.token_id),
        (user("u-42"), Some(now()), Some("t-1".into()))
    );
    let link = signer.sign(&Grant { user: None, orders: Some(vec![OrderId::parse("A-1").unwrap()]), ..grant() });
    assert!(matches!(verifier.verify(&link, now()).unwrap().viewer, Viewer::Link { .. }));
    assert!(!format!("{signer:?} {verifier:?} {auth:?}").contains(SECRET));
    assert!(Signer::new(&settings(&[]).unwrap()).is_none());
}

fn signing_key(algorithm: Algorithm, name: &str) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(&pem(name)).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem(name)).unwrap(),
        _ => EncodingKey::from_rsa_pem(&pem(name)).unwrap(),
    }
}

#[test]
fn every_algorithm_verifies_its_own_tokens_and_only_those_configured() {
    let hmacs = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    for algorithm in hmacs {
        let name = format!("{algorithm:?}");
        for signed in hmacs {
            let token = hmac(&Header::new(signed), &claims(json!({})), SECRET);
            let verified = hmac_verifier(&[("auth.algorithms", &name)]).verify(&token, now()).map(drop);
            let wanted = if signed == algorithm { Ok(()) } else { Err(TokenError::Invalid(Flaw::Algorithm)) };
            assert_eq!(verified, wanted, "{signed:?} for {algorithm:?}");
        }
    }
    let pairs = [
        (Algorithm::RS256, "rsa"),
        (Algorithm::RS384, "rsa"),
        (Algorithm::RS512, "rsa"),
        (Algorithm::PS256, "rsa"),
        (Algorithm::PS384, "rsa"),
        (Algorithm::PS512, "rsa"),
        (Algorithm::ES256, "p256"),
        (Algorithm::ES384, "p384"),
        (Algorithm::EdDSA, "ed25519"),
    ];
    for (algorithm, key) in pairs {
        let name = format!("{algorithm:?}");
        let verifier =
            verifier(&[("auth.algorithms", &name), ("auth.public_key_files", &files(&[&format!("{key}-public")]))]);
        for (signed, signed_with) in pairs {
            let key = signing_key(signed, &format!("{signed_with}-private"));
            let token = encode(&Header::new(signed), &claims(json!({})), &key).unwrap();
            let wanted = if signed == algorithm { Ok(()) } else { Err(TokenError::Invalid(Flaw::Algorithm)) };
            assert_eq!(verifier.verify(&token, now()).map(drop), wanted, "{signed:?} for {algorithm:?}");
        }
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let verifier = verifier(&[("auth.algorithms", "RS256"), ("auth.public_key_files", &files(&["rsa-public"]))]);
    let public = String::from_utf8(pem("rsa-public")).unwrap();
    for secret in [public.as_str(), public.trim_end()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            let token = hmac(&Header::new(algorithm), &claims(json!({})), secret);
            assert_eq!(verifier.verify(&token, now()), Err(TokenError::Invalid(Flaw::Algorithm)));
        }
    }
}

#[test]
fn a_kid_that_names_a_file_selects_its_key_and_any_other_selects_none() {
    let both = files(&["rsa-public", "other-rsa-public"]);
    let verifier = verifier(&[("auth.algorithms", "RS256"), ("auth.public_key_files", &both)]);
    for (kid, signed_with, wanted) in [
        (Some("rsa-public"), "rsa", Ok(())),
        (Some("other-rsa-public"), "other-rsa", Ok(())),
        (Some("rsa-public"), "other-rsa", Err(TokenError::Invalid(Flaw::Signature))),
        (Some("what the issuer calls it"), "other-rsa", Ok(())),
        (None, "rsa", Ok(())),
        (None, "other-rsa", Ok(())),
    ] {
        let header = Header { kid: kid.map(Into::into), ..Header::new(Algorithm::RS256) };
        let key = signing_key(Algorithm::RS256, &format!("{signed_with}-private"));
        let token = encode(&header, &claims(json!({})), &key).unwrap();
        assert_eq!(verifier.verify(&token, now()).map(drop), wanted, "{kid:?} {signed_with}");
    }
}

#[test]
fn a_token_of_a_stranger_is_refused() {
    for (algorithm, key) in [("RS256", "rsa-public"), ("PS256", "rsa-public")] {
        let verifier = verifier(&[("auth.algorithms", algorithm), ("auth.public_key_files", &files(&[key]))]);
        let header = Header::new(algorithm.parse().unwrap());
        let token = encode(&header, &claims(json!({})), &signing_key(header.alg, "other-rsa-private")).unwrap();
        assert_eq!(verifier.verify(&token, now()), Err(TokenError::Invalid(Flaw::Signature)));
    }
}

#[test]
fn key_files_that_cannot_be_used_are_all_told_at_once() {
    let refused = |algorithms: &str, names: &[&str]| {
        let auth = settings(&[("auth.algorithms", algorithms), ("auth.public_key_files", &files(names))]).unwrap();
        let error = Verifier::new(&auth).map(drop).unwrap_err();
        error.problems.iter().map(|problem| problem.to_string().replace(KEYS, "")).collect::<Vec<_>>()
    };
    let names = ["rsa-private", "rsa-1024-public", "p521-public", "ed25519-public", "rsa-2047-public"];
    let problems = refused("RS256", &names);
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(problems[0].contains("rsa-private.pem: holds a private key"), "{problems:#?}");
    assert!(problems[1].contains("rsa-1024-public.pem: must hold one PEM public key"), "{problems:#?}");
    assert!(problems[2].contains("p521-public.pem: must hold one PEM public key"), "{problems:#?}");
    assert!(problems[3].contains("ed25519-public.pem: auth.algorithms names none"), "{problems:#?}");
    assert!(problems[4].contains("rsa-2047-public.pem: must hold one PEM public key"), "{problems:#?}");
    assert_eq!(refused("ES256,ES384", &["p256-public"]), ["auth.algorithms: no key is for ES384"]);
    assert_eq!(refused("ES256", &["p256-public", "p256-public"]).len(), 1);
}

#[test]
fn the_outside_learns_a_code_and_not_which_part_was_wrong() {
    for (error, code) in [
        (TokenError::Missing, "missing_token"),
        (TokenError::Invalid(Flaw::Signature), "invalid_token"),
        (TokenError::Expired, "expired_token"),
        (TokenError::Malformed(TOO_LARGE), "bad_request"),
    ] {
        assert_eq!(error.code(), code);
    }
    assert_eq!(TokenError::Invalid(Flaw::Signature).to_string(), TokenError::Invalid(Flaw::Nobody).to_string());
    assert_eq!(TokenError::Invalid(Flaw::Nobody).flaw(), Some(Flaw::Nobody), "the log does");
    assert_eq!(TokenError::Expired.flaw(), None);
}

/// The set of an issuer with this RSA key, as the files hold it, and what no set should offer.
fn key_set(kid: &str, name: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let key =
        jsonwebtoken::jwk::Jwk::from_encoding_key(&signing_key(Algorithm::RS256, name), Algorithm::RS256).unwrap();
    let mut key = serde_json::to_value(key).unwrap();
    key["kid"] = json!(kid);
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let short = URL_SAFE_NO_PAD.encode([0x7f; 256]);
    let set = json!({"keys": [
        {"kty": "oct", "kid": "secret", "k": secret, "alg": "HS256"},
        {"kty": "RSA", "kid": "short", "n": short, "e": "AQAB"},
        {"kty": "of tomorrow"},
        key,
    ]});
    set.to_string().into_bytes()
}

fn rsa_token(kid: Option<&str>, name: &str) -> String {
    let header = Header { kid: kid.map(Into::into), ..Header::new(Algorithm::RS256) };
    encode(&header, &claims(json!({})), &signing_key(Algorithm::RS256, name)).unwrap()
}

#[test]
fn a_key_set_serves_its_public_keys_and_nothing_else_in_it() {
    let verifier = verifier(&[("auth.algorithms", "RS256"), ("auth.jwks_url", "https://login.example/keys")]);
    let good = rsa_token(Some("k-1"), "rsa-private");
    assert_eq!(verifier.verify(&good, now()), Err(TokenError::KeysUnavailable), "no 401 before there are keys");
    verifier.take_key_set(&key_set("k-1", "rsa-private")).unwrap();
    verifier.on_fetched(true, now());
    assert!(verifier.verify(&good, now()).is_ok());
    assert!(verifier.verify(&rsa_token(None, "rsa-private"), now()).is_ok());
    let signature = Err(TokenError::Invalid(Flaw::Signature));
    assert_eq!(verifier.verify(&rsa_token(Some("k-1"), "other-rsa-private"), now()), signature);
    let header = Header { kid: Some("secret".into()), ..Header::default() };
    let by_secret = verifier.verify(&hmac(&header, &claims(json!({})), SECRET), now());
    assert!(matches!(by_secret, Err(TokenError::Invalid(_))), "{by_secret:?}");
    for bad in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#] {
        assert!(verifier.take_key_set(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(verifier.verify(&good, now()).is_ok(), "the last good set stays");
}

/// A set with an RSA key of this modulus.
fn rsa_set(modulus: &[u8]) -> Vec<u8> {
    let key = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" });
    json!({ "keys": [key] }).to_string().into_bytes()
}

/// A set with the key of this file, whose point are the last bytes, and what is changed in it.
fn curve_set(name: &str, kind: &str, curve: &str, change: &Value) -> Vec<u8> {
    let pem = String::from_utf8(pem(name)).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let half = |from_end: usize, bytes: usize| URL_SAFE_NO_PAD.encode(&der[der.len() - from_end..][..bytes]);
    let mut key = match name {
        "ed25519-public" => json!({ "x": half(32, 32) }),
        "p256-public" => json!({ "x": half(64, 32), "y": half(32, 32) }),
        "p384-public" => json!({ "x": half(96, 48), "y": half(48, 48) }),
        _ => json!({ "x": half(132, 66), "y": half(66, 66) }),
    };
    (key["kty"], key["crv"]) = (kind.into(), curve.into());
    for (name, value) in change.as_object().unwrap() {
        key[name] = value.clone();
    }
    json!({ "keys": [key] }).to_string().into_bytes()
}

#[test]
fn each_key_of_a_set_serves_the_algorithms_of_its_kind_that_are_configured_and_no_others() {
    let fetched = |algorithm: &str| verifier(&[("auth.algorithms", algorithm), ("auth.jwks_url", "https://x.example")]);
    let (rsa, none) = (key_set("k-1", "rsa-private"), json!({}));
    let sets = [
        ("RS256", rsa.clone()),
        ("ES256", curve_set("p256-public", "EC", "P-256", &none)),
        ("ES384", curve_set("p384-public", "EC", "P-384", &none)),
        ("EdDSA", curve_set("ed25519-public", "OKP", "Ed25519", &none)),
    ];
    for (configured, name) in
        [("RS256", "rsa-private"), ("ES256", "p256-private"), ("ES384", "p384-private"), ("EdDSA", "ed25519-private")]
    {
        let algorithm = configured.parse().unwrap();
        let token = encode(&Header::new(algorithm), &claims(json!({})), &signing_key(algorithm, name)).unwrap();
        for (of, set) in &sets {
            let verifier = fetched(configured);
            let taken = verifier.take_key_set(set);
            assert_eq!(taken.is_ok(), *of == configured, "a key for {of} where {configured} is configured");
            assert_eq!(verifier.verify(&token, now()).is_ok(), taken.is_ok(), "{configured} by {of}");
        }
    }
    for (what, set) in [
        ("RSA of 2047 bits", rsa_set(&[0x7f; 256])),
        ("RSA of 2040 bits after a zero", rsa_set(&[&[0][..], &[0xff; 255]].concat())),
        ("RSA of nothing", rsa_set(&[0; 256])),
        ("another curve", curve_set("p521-public", "EC", "P-521", &none)),
        ("a curve of another kind", curve_set("ed25519-public", "OKP", "P-256", &none)),
        ("another use", curve_set("p256-public", "EC", "P-256", &json!({ "use": "enc" }))),
        ("another algorithm", curve_set("p256-public", "EC", "P-256", &json!({ "alg": "ES384" }))),
    ] {
        assert!(fetched("RS256,ES256,ES384,EdDSA").take_key_set(&set).is_err(), "{what}");
    }
    assert!(fetched("RS256").take_key_set(&rsa_set(&[&[0x80][..], &[0; 255]].concat())).is_ok(), "2048 bits");
    let named = curve_set("p256-public", "EC", "P-256", &json!({ "use": "sig", "alg": "ES256" }));
    assert!(fetched("ES256").take_key_set(&named).is_ok());
}

#[tokio::test]
async fn who_fetches_keys_is_told_when_one_is_wanted_and_who_brought_the_token_waits_for_it() {
    let set = [("auth.algorithms", "RS256"), ("auth.jwks_url", "https://login.example/keys")];
    let verifier = verifier(&set);
    let is_wanted = || verifier.key_wanted().now_or_never().is_some();
    verifier.take_key_set(&key_set("k-1", "rsa-private")).unwrap();
    verifier.on_fetched(true, now());
    assert!(!is_wanted(), "nobody has asked");
    let after = |seconds: i64| Timestamp::from_millis((NOW + seconds) * 1000).unwrap();
    let new = rsa_token(Some("k-2"), "other-rsa-private");
    assert!(verifier.verify(&rsa_token(Some("k-1"), "rsa-private"), after(9)).is_ok() && !is_wanted());
    assert!(verifier.verify(&new, after(4)).is_err() && !is_wanted(), "just fetched");
    assert!(verifier.verify(&new, after(5)).is_err() && is_wanted());
    assert!(!is_wanted(), "it is told once");
    let fetch = async {
        verifier.key_wanted().await;
        verifier.take_key_set(&key_set("k-2", "other-rsa-private")).unwrap();
        verifier.on_fetched(true, after(6));
    };
    let (verified, ()) = tokio::join!(verifier.verify_fetching(&new, || after(6)), fetch);
    assert!(verified.is_ok(), "{verified:?}");
    let given = hmac_verifier(&[]);
    assert!(verify(&given, &claims(json!({}))).is_ok());
    assert!(given.key_wanted().now_or_never().is_none(), "keys of the settings are never fetched");
}

#[test]
fn an_unknown_kid_asks_for_a_fetch_once_in_a_while_and_is_refused_only_after_a_good_one() {
    let after = |seconds: i64| Timestamp::from_millis((NOW + seconds) * 1000).unwrap();
    let verifier = verifier(&[("auth.algorithms", "RS256"), ("auth.jwks_url", "https://login.example/keys")]);
    verifier.take_key_set(&key_set("k-1", "rsa-private")).unwrap();
    verifier.on_fetched(true, now());
    let new = rsa_token(Some("k-2"), "other-rsa-private");
    assert_eq!(verifier.verify(&new, after(4)), Err(TokenError::Invalid(Flaw::Signature)), "just fetched");
    assert_eq!(verifier.verify(&new, after(5)), Err(TokenError::KeysUnavailable), "a fetch is due");
    verifier.on_fetched(false, after(5));
    assert_eq!(verifier.verify(&new, after(6)), Err(TokenError::KeysUnavailable), "the server is away");
    verifier.take_key_set(&key_set("k-2", "other-rsa-private")).unwrap();
    verifier.on_fetched(true, after(7));
    assert!(verifier.verify(&new, after(8)).is_ok());
    assert_eq!(
        verifier.verify(&rsa_token(Some("k-1"), "rsa-private"), after(8)),
        Err(TokenError::Invalid(Flaw::Signature))
    );
}

#[test]
fn a_clock_that_was_set_back_keeps_no_key_away() {
    let after = |seconds: i64| Timestamp::from_millis((NOW + seconds) * 1000).unwrap();
    let verifier = verifier(&[("auth.algorithms", "RS256"), ("auth.jwks_url", "https://login.example/keys")]);
    verifier.take_key_set(&key_set("k-1", "rsa-private")).unwrap();
    verifier.on_fetched(true, now());
    let new = rsa_token(Some("k-2"), "other-rsa-private");
    for back in [-1, -4, -5, -60] {
        let asked = verifier.verify(&new, after(back));
        assert_eq!(asked, Err(TokenError::KeysUnavailable), "{back}: a fetch is due, and it is not the token's fault");
    }
    verifier.on_fetched(true, after(-60));
    assert_eq!(verifier.verify(&new, after(-57)), Err(TokenError::Invalid(Flaw::Signature)), "just fetched");
}

#[test]
fn a_key_that_is_wanted_while_the_set_is_being_fetched_is_no_reason_for_another_fetch() {
    let after = |seconds: i64| Timestamp::from_millis((NOW + seconds) * 1000).unwrap();
    let verifier = verifier(&[("auth.algorithms", "RS256"), ("auth.jwks_url", "https://login.example/keys")]);
    let is_wanted = || verifier.key_wanted().now_or_never().is_some();
    verifier.take_key_set(&key_set("k-1", "rsa-private")).unwrap();
    verifier.on_fetched(true, now());
    let new = rsa_token(Some("k-2"), "other-rsa-private");
    assert!(verifier.verify(&new, after(10)).is_err() && is_wanted());
    verifier.on_fetching(after(10));
    assert_eq!(verifier.verify(&new, after(13)), Err(TokenError::KeysUnavailable));
    assert!(!is_wanted(), "it is on its way");
    verifier.on_fetched(false, after(10));
    assert!(verifier.verify(&new, after(14)).is_err() && !is_wanted());
    assert!(verifier.verify(&new, after(15)).is_err() && is_wanted());
}

#[test]
fn secret_files_are_read_again_and_a_bad_one_leaves_all_keys_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let [file, previous] = ["secret", "previous"].map(|name| directory.path().join(name));
    let put = |path: &std::path::Path, text: &str| std::fs::write(path, text).unwrap();
    put(&file, &format!("{OLD_SECRET}\n"));
    put(&previous, OLD_SECRET);
    let [file_text, previous_text] = [&file, &previous].map(|path| path.to_str().unwrap());
    let verifier = verifier(&[("auth.secret_file", file_text), ("auth.previous_secret_file", previous_text)]);
    let takes = |secret| verifier.verify(&hmac(&Header::default(), &claims(json!({})), secret), now()).is_ok();
    assert_eq!((takes(OLD_SECRET), takes(SECRET)), (true, false));
    put(&file, SECRET);
    verifier.reread_files().unwrap();
    assert_eq!((takes(OLD_SECRET), takes(SECRET)), (true, true), "the one before is still good");
    put(&previous, "canary");
    let error = verifier.reread_files().unwrap_err().to_string();
    assert!(error.contains("auth.previous_secret_file") && error.contains("32 bytes"), "{error}");
    assert!(!error.contains("canary"), "{error}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(verifier.reread_files().unwrap_err().problems.len(), 2);
    assert_eq!((takes(OLD_SECRET), takes(SECRET)), (true, true));
    put(&file, SECRET);
    put(&previous, SECRET);
    verifier.reread_files().unwrap();
    assert_eq!((takes(OLD_SECRET), takes(SECRET)), (false, true));
}

#[test]
fn a_list_may_be_as_long_as_it_may_and_so_may_a_token() {
    let verifier = hmac_verifier(&[]);
    let many: Vec<_> = (0..MAX_ORDERS).collect();
    assert!(verify(&verifier, &claims(json!({ "orders": many }))).is_ok());
    let of_length = |bytes: usize| verifier.verify(&"x".repeat(bytes), now()).unwrap_err();
    assert!(matches!(of_length(MAX_TOKEN_BYTES), TokenError::Invalid(Flaw::Malformed)));
    assert!(matches!(of_length(MAX_TOKEN_BYTES + 1), TokenError::Malformed(TOO_LARGE)));
}
