//! May a page of this origin connect? Pure; `http` hands in the headers, and answers CORS with the same.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{AllowedOrigin, Http, WebOrigin, host_and_port};

/// Which origins are allowed, by the settings.
#[derive(Debug, Clone)]
pub struct Origins {
    allowed: Vec<AllowedOrigin>,
    trusted_proxies: Vec<IpNet>,
}

/// What is known of a request that carries an `Origin`.
#[derive(Debug, Clone, Copy)]
pub struct OriginRequest<'a> {
    /// The `Origin` header.
    pub origin: &'a str,
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// The `X-Forwarded-Host` header.
    pub forwarded_host: Option<&'a str>,
    /// Who opened the connection.
    pub peer: IpAddr,
}

impl Origins {
    /// The policy of the settings.
    pub fn new(http: &Http) -> Self {
        Self { allowed: http.allowed_origins.clone(), trusted_proxies: http.trusted_proxies.clone() }
    }

    /// Whether the origin is listed, or the request's own host.
    pub fn allows(&self, request: &OriginRequest<'_>) -> bool {
        if self.allowed.contains(&AllowedOrigin::Any) {
            return true;
        }
        match request.origin {
            "null" => return self.allowed.contains(&AllowedOrigin::Null),
            "file://" => return self.allowed.contains(&AllowedOrigin::File),
            _ => {}
        }
        // Whatever else is no origin is allowed by `*` only.
        let Ok(origin) = request.origin.parse::<WebOrigin>() else { return false };
        self.allowed.iter().any(|allowed| lists(allowed, &origin)) || self.is_same_host(&origin, request)
    }

    /// Ports are compared only where both name one: a proxy may listen on another port than the page was loaded from.
    fn is_same_host(&self, origin: &WebOrigin, request: &OriginRequest<'_>) -> bool {
        // With several proxies in a row the first value is what the client asked for.
        let forwarded =
            request.forwarded_host.filter(|_| self.trusts(request.peer)).and_then(|hosts| hosts.split(',').next());
        let Some((host, port)) = forwarded.or(request.host).and_then(|host| host_and_port(host.trim())) else {
            return false;
        };
        host == origin.host && (port.is_none() || origin.port.is_none() || port == origin.port)
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&peer.to_canonical()))
    }
}

fn lists(allowed: &AllowedOrigin, origin: &WebOrigin) -> bool {
    let fits =
        |listed: &WebOrigin| listed.scheme == origin.scheme && listed.effective_port() == origin.effective_port();
    match allowed {
        AllowedOrigin::Any => true,
        // They are no web origins: `allows` has looked at them.
        AllowedOrigin::Null | AllowedOrigin::File => false,
        AllowedOrigin::Exactly(listed) => fits(listed) && listed.host == origin.host,
        AllowedOrigin::Below(listed) => {
            let below = origin.host.strip_suffix(listed.host.as_str()).and_then(|rest| rest.strip_suffix('.'));
            fits(listed) && below.is_some_and(|name| !name.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources, variable};

    fn policy(allowed: &str) -> Origins {
        let variables = [("http.allowed_origins", allowed), ("http.trusted_proxies", "10.0.0.0/8")];
        let environment = variables.map(|(key, value)| (variable(key), value.to_owned())).into();
        Origins::new(&config::load(&Sources { environment, ..Sources::default() }, &[]).unwrap().http)
    }

    fn allows(allowed: &str, origin: &str, host: &str) -> bool {
        let peer = "192.0.2.1".parse().unwrap();
        policy(allowed).allows(&OriginRequest { origin, host: Some(host), forwarded_host: None, peer })
    }

    #[test]
    fn listed_origins_are_allowed_and_others_are_not() {
        let listed = "https://shop.example, https://*.market.example, http://localhost:3000, capacitor://localhost";
        for (origin, wanted) in [
            ("https://shop.example", true),
            ("https://shop.example:443", true),
            ("HTTPS://Shop.Example", true),
            ("https://shop.example:8443", false),
            ("http://shop.example", false),
            ("https://www.shop.example", false),
            ("https://shop.example.evil.example", false),
            ("https://evilshop.example", false),
            ("https://a.market.example", true),
            ("https://a.b.market.example", true),
            ("https://market.example", false),
            ("https://.market.example", false),
            ("https://evilmarket.example", false),
            ("https://a.market.example:8443", false),
            ("http://a.market.example", false),
            ("http://localhost:3000", true),
            ("http://localhost", false),
            ("http://localhost:30000", false),
            ("capacitor://localhost", true),
            ("null", false),
            ("", false),
            ("file://", false),
            ("https://shop.example/", false),
            ("https://user@shop.example", false),
            ("https://shop.example:", false),
            ("https://shop.example https://evil.example", false),
        ] {
            assert_eq!(allows(listed, origin, "api.example"), wanted, "{origin}");
        }
    }

    #[test]
    fn a_page_of_the_same_host_is_allowed() {
        for (origin, host, wanted) in [
            ("https://shop.example", "shop.example", true),
            ("https://SHOP.example", "shop.EXAMPLE", true),
            ("https://shop.example", "shop.example:8443", true),
            ("https://shop.example:8443", "shop.example", true),
            ("http://localhost:8080", "localhost:8080", true),
            ("http://localhost:3000", "localhost:8080", false),
            ("http://localhost:3000", "localhost:80", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://[::1]:8080", "[::2]:8080", false),
            ("https://evil.example", "shop.example", false),
            ("https://shop.example.evil.example", "shop.example", false),
            ("https://evilshop.example", "shop.example", false),
            ("https://shop.example", "evilshop.example", false),
            ("https://www.shop.example", "shop.example", false),
            ("https://shop.example", "www.shop.example", false),
            ("https://shop.example", "shop.example.evil.example", false),
            ("https://shop.exampl", "shop.example", false),
            ("https://shop", "shop.example", false),
            ("https://example", "shop.example", false),
            ("https://shop.example.", "shop.example", false),
            ("https://shopxexample", "shop.example", false),
            ("null", "null", false),
            ("https://shop.example", "", false),
        ] {
            assert_eq!(allows("", origin, host), wanted, "{origin} at {host}");
        }
    }

    #[test]
    fn a_star_allows_any_origin_and_null() {
        for origin in ["null", "https://anything.example", "file://", ""] {
            assert!(allows("*", origin, "shop.example"), "{origin}");
        }
    }

    #[test]
    fn null_and_files_are_allowed_by_being_listed_themselves_only() {
        for (listed, origin, wanted) in [
            ("null", "null", true),
            ("null", "NULL", false),
            ("null", "file://", false),
            ("file://", "file://", true),
            ("file://", "null", false),
            ("file://", "file:///", false),
            ("file://", "file://shop.example", false),
            ("https://shop.example, null, file://", "file://", true),
            ("https://*.example, http://null", "null", false),
        ] {
            assert_eq!(allows(listed, origin, "null"), wanted, "{origin} by {listed}");
        }
    }

    #[test]
    fn a_forwarded_host_counts_from_trusted_proxies_only() {
        let asked = |peer: &str, forwarded_host| {
            let (origin, host) = ("https://shop.example", Some("backend:8080"));
            policy("").allows(&OriginRequest { origin, host, forwarded_host, peer: peer.parse().unwrap() })
        };
        assert!(asked("10.1.2.3", Some("shop.example")));
        assert!(asked("::ffff:10.1.2.3", Some("shop.example, inner.example")));
        for other in ["evil.example", "evilshop.example", "www.shop.example", "evil.example, shop.example", ""] {
            assert!(!asked("10.1.2.3", Some(other)), "{other}");
        }
        assert!(!asked("10.1.2.3", None));
        assert!(!asked("192.0.2.1", Some("shop.example")));
    }
}
