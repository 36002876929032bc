//! Who may do more on the operations listener than look at health and metrics.

use std::{
    future::{Ready, ready},
    net::SocketAddr,
};

use actix_web::{
    FromRequest, HttpRequest, dev,
    http::header::{AUTHORIZATION, HOST},
    web,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::Operations;
use crate::{
    auth::{Presentation, UNREADABLE},
    http::{
        headers::{Said, texts},
        refusal::Refusal,
    },
};

/// Decides by `operations.token` or, without that setting, by where the listener is.
#[derive(Debug)]
pub struct Guard(Rule);

#[derive(Debug)]
enum Rule {
    /// Who shows the token of this digest.
    Token([u8; 32]),
    /// Who is on this machine.
    Loopback,
    /// Nobody: for everybody else these endpoints do not exist.
    Nobody,
}

impl Guard {
    /// The guard of a listener.
    pub fn new(token: Option<&SecretString>, listen: SocketAddr) -> Self {
        Self(match token {
            Some(token) => Rule::Token(digest(token.expose_secret())),
            None if listen.ip().to_canonical().is_loopback() => Rule::Loopback,
            None => Rule::Nobody,
        })
    }

    /// `authorization` is `None` where it cannot be read.
    fn check(&self, authorization: Option<&[&str]>, host: Said<'_>) -> Result<(), Refusal> {
        match &self.0 {
            Rule::Token(wanted) => {
                let authorization = authorization.ok_or(Refusal::BadRequest(UNREADABLE))?;
                let shown = Presentation { authorization, ..Presentation::default() }.token()?;
                let same = is_same(&digest(shown.expose_secret()), wanted);
                if same { Ok(()) } else { Err(Refusal::InvalidToken) }
            }
            // A page in the operator's browser can make its own name point here, but not call itself localhost.
            Rule::Loopback if host.or_empty().is_none_or(is_local) => Ok(()),
            Rule::Loopback | Rule::Nobody => Err(Refusal::NotFound),
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Takes the same time wherever two digests differ.
fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
}

fn is_local(host: &str) -> bool {
    match Url::parse(&format!("http://{host}/")).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// Somebody whom the guard let pass. A handler that takes one is for operators only.
#[derive(Debug)]
pub(super) struct Operator;

impl FromRequest for Operator {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let authorization = texts(request.headers(), AUTHORIZATION);
        let host = Said::once(request.headers(), HOST);
        let operations = request.app_data::<web::Data<Operations>>().ok_or(Refusal::NotFound);
        let check = |operations: &web::Data<Operations>| operations.guard.check(authorization.as_deref(), host);
        ready(operations.and_then(check).map(|()| Self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(token: Option<&str>, listen: &str) -> Guard {
        Guard::new(token.map(SecretString::from).as_ref(), listen.parse().unwrap())
    }

    #[test]
    fn with_a_token_only_who_shows_it_passes_wherever_the_listener_is() {
        for listen in ["127.0.0.1:9090", "0.0.0.0:9090"] {
            let guard = guard(Some("open sesame"), listen);
            assert_eq!(guard.check(Some(&["Bearer open sesame"]), Said::Text("ops.example")), Ok(()));
            let local = Said::Text("localhost");
            for shown in ["Bearer open sesam", "Bearer open sesame2", "Bearer OPEN SESAME"] {
                assert_eq!(guard.check(Some(&[shown]), local), Err(Refusal::InvalidToken), "{shown}");
            }
            for shown in [&[][..], &["open sesame"], &["Basic open sesame"], &["Bearer "]] {
                assert_eq!(guard.check(Some(shown), local), Err(Refusal::MissingToken), "{shown:?}");
            }
            assert_eq!(guard.check(None, local), Err(Refusal::BadRequest(UNREADABLE)));
            assert!(!format!("{guard:?}").contains("sesame"));
        }
    }

    #[test]
    fn without_a_token_the_endpoints_exist_on_loopback_only_and_for_no_page_of_another_name() {
        for (listen, host, passes) in [
            ("127.0.0.1:9090", Some("127.0.0.1:9090"), true),
            ("127.0.0.1:9090", Some("localhost:9090"), true),
            ("127.0.0.1:9090", Some("LOCALHOST"), true),
            ("[::1]:9090", Some("[::1]:9090"), true),
            ("[::1]:9090", Some("[::1]"), true),
            ("[::ffff:127.0.0.1]:9090", Some("127.0.0.1"), true),
            ("127.0.0.1:9090", None, true),
            ("127.0.0.1:9090", Some("rebound.example:9090"), false),
            ("127.0.0.1:9090", Some("localhost.example"), false),
            ("127.0.0.1:9090", Some("10.0.0.1:9090"), false),
            ("0.0.0.0:9090", Some("127.0.0.1:9090"), false),
            ("10.0.0.1:9090", Some("localhost"), false),
        ] {
            let wanted = if passes { Ok(()) } else { Err(Refusal::NotFound) };
            let host = host.map_or(Said::Nothing, Said::Text);
            assert_eq!(guard(None, listen).check(Some(&[]), host), wanted, "{listen} {host:?}");
        }
        assert_eq!(guard(None, "127.0.0.1:9090").check(Some(&[]), Said::Unreadable), Err(Refusal::NotFound));
    }
}
