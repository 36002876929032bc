//! Where in a request the token stands: the query, the `Authorization` header, or a subprotocol. Plain functions over text.

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::{
    TokenError,
    error::{CONFLICTING, WITHOUT_SUBPROTOCOL},
};

/// The subprotocol the server selects when it is offered.
pub const SUBPROTOCOL: &str = "ordercast.v1";
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// The parts of a request that may carry a token.
#[derive(Clone, Copy, Default)]
pub struct Presentation<'a> {
    /// The query as it came, without `?`.
    pub query: &'a str,
    /// Every `Authorization` header.
    pub authorization: &'a [&'a str],
    /// Every `Sec-WebSocket-Protocol` header.
    pub protocols: &'a [&'a str],
}

impl Presentation<'_> {
    /// The one token the request carries, perhaps several times. White space around it is none of it, wherever it stands: a
    /// page that reads its token as text has the line break behind it. Empty ones do not count.
    pub fn token(&self) -> Result<SecretString, TokenError> {
        let in_query = form_urlencoded::parse(self.query.as_bytes()).filter(|(name, _)| name == "token");
        let in_query = in_query.map(|(_, token)| token.trim().to_owned());
        let in_headers = self.authorization.iter().filter_map(|header| bearer(header)).map(str::to_owned);
        let in_protocols = self.offered().filter_map(|offered| offered.strip_prefix(BEARER_SUBPROTOCOL));
        let in_protocols = in_protocols.map(|token| token.trim().to_owned());
        if self.offered().any(|offered| offered.starts_with(BEARER_SUBPROTOCOL)) && !self.offers_subprotocol() {
            return Err(TokenError::Malformed(WITHOUT_SUBPROTOCOL));
        }
        let mut tokens = in_query.chain(in_headers).chain(in_protocols).filter(|token| !token.is_empty());
        let token = tokens.next().map(SecretString::from).ok_or(TokenError::Missing)?;
        if tokens.any(|other| other != token.expose_secret()) {
            Err(TokenError::Malformed(CONFLICTING))
        } else {
            Ok(token)
        }
    }

    /// Whether the client offers [`SUBPROTOCOL`], which the server then selects.
    pub fn offers_subprotocol(&self) -> bool {
        self.offered().any(|offered| offered == SUBPROTOCOL)
    }

    fn offered(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().flat_map(|header| header.split(',')).map(str::trim)
    }
}

/// The token of a `Bearer` header; other schemes are none of ours.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(query: &str, authorization: &[&str], protocols: &[&str]) -> Result<String, TokenError> {
        let found = Presentation { query, authorization, protocols }.token();
        found.map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn a_token_is_found_in_each_of_its_places() {
        for (query, authorization, protocols) in [
            ("token=a.b-c_d", &[][..], &[][..]),
            ("sync=wait&token=a%2Eb-c_d", &[], &[]),
            ("", &["Bearer a.b-c_d"], &[]),
            ("", &["bearer  a.b-c_d "], &[]),
            ("", &["Basic eDp5", "BEARER a.b-c_d"], &[]),
            ("", &[], &["ordercast.v1, bearer.a.b-c_d"]),
            ("", &[], &["bearer.a.b-c_d", "ordercast.v1"]),
            ("token=a.b-c_d&token=a.b-c_d", &["Bearer a.b-c_d"], &["ordercast.v1,bearer.a.b-c_d"]),
            ("token=", &["Bearer a.b-c_d"], &["ordercast.v1"]),
        ] {
            let found = token(query, authorization, protocols);
            assert_eq!(found.as_deref(), Ok("a.b-c_d"), "{query} {authorization:?} {protocols:?}");
        }
    }

    #[test]
    fn white_space_around_a_token_is_none_of_it() {
        for (query, authorization, protocols) in [
            ("token=a.b-c_d%0A", &[][..], &[][..]),
            ("token=%0D%0Aa.b-c_d", &[], &[]),
            ("token=+a.b-c_d%20", &[], &[]),
            ("token=%09a.b-c_d%09&sync=wait", &[], &[]),
            ("token=%C2%A0a.b-c_d%E2%80%A8", &[], &[]),
            ("", &["Bearer\ta.b-c_d\t"], &[]),
            ("", &[" Bearer   a.b-c_d  "], &[]),
            ("", &[], &["ordercast.v1 ,\tbearer.a.b-c_d\t"]),
            ("", &[], &["bearer. a.b-c_d , ordercast.v1"]),
            ("token=a.b-c_d%0A", &["Bearer a.b-c_d "], &["ordercast.v1, bearer.a.b-c_d "]),
        ] {
            let found = token(query, authorization, protocols);
            assert_eq!(found.as_deref(), Ok("a.b-c_d"), "{query} {authorization:?} {protocols:?}");
        }
        assert_eq!(token("token=a.b%20c", &[], &[]).as_deref(), Ok("a.b c"), "within, it is part of it");
        for query in ["token=%0A", "token=+", "token=%20%09"] {
            assert_eq!(token(query, &[], &[]), Err(TokenError::Missing), "{query}");
        }
    }

    #[test]
    fn a_request_without_a_token_is_told_so() {
        for (query, authorization, protocols) in [
            ("", &[][..], &[][..]),
            ("token=", &[], &[]),
            ("tokens=a&Token=b", &[], &[]),
            ("", &["Basic eDp5"], &[]),
            ("", &["Bearer", "Bearer "], &["ordercast.v1"]),
            ("", &[], &["ordercast.v1, bearer."]),
        ] {
            let found = token(query, authorization, protocols);
            assert_eq!(found, Err(TokenError::Missing), "{query} {authorization:?} {protocols:?}");
        }
    }

    #[test]
    fn two_different_tokens_are_a_bad_request() {
        for (query, authorization, protocols) in [
            ("token=a&token=b", &[][..], &[][..]),
            ("token=a", &["Bearer b"], &[]),
            ("token=a", &[], &["ordercast.v1, bearer.b"]),
            ("", &["Bearer a", "Bearer b"], &[]),
            ("", &[], &["ordercast.v1, bearer.a, bearer.b"]),
        ] {
            let found = token(query, authorization, protocols);
            assert_eq!(found, Err(TokenError::Malformed(CONFLICTING)), "{query} {authorization:?} {protocols:?}");
        }
    }

    #[test]
    fn a_token_as_a_subprotocol_needs_the_one_the_server_can_select() {
        assert_eq!(token("", &[], &["bearer.a"]), Err(TokenError::Malformed(WITHOUT_SUBPROTOCOL)));
        assert_eq!(token("token=a", &[], &["chat, bearer.a"]), Err(TokenError::Malformed(WITHOUT_SUBPROTOCOL)));
        assert!(
            Presentation { protocols: &["chat", "v2, ordercast.v1"], ..Presentation::default() }.offers_subprotocol()
        );
        assert!(
            !Presentation { protocols: &["Ordercast.v1", "ordercast.v10"], ..Presentation::default() }
                .offers_subprotocol()
        );
    }
}
