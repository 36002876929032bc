//! Web origins: what an `Origin` header names, and what `http.allowed_origins` lists. Who decides is `auth::origin`.

use std::{fmt, str::FromStr};

use super::rule::Rule;

/// Scheme, host and port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin {
    /// `https`.
    pub scheme: String,
    /// Name or address; IPv6 in brackets.
    pub host: String,
    /// As written: a browser leaves the scheme's own port out.
    pub port: Option<u16>,
}

impl WebOrigin {
    /// The port, also where the scheme implies it.
    pub fn effective_port(&self) -> Option<u16> {
        self.port.or(match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })
    }
}

/// The text is not `scheme://host[:port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnOrigin;

impl FromStr for WebOrigin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(NotAnOrigin)?;
        let (host, port) = host_and_port(authority).ok_or(NotAnOrigin)?;
        let is_scheme_char = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_scheme_char) {
            return Err(NotAnOrigin);
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host, port })
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `host[:port]`, as in a `Host` header; the host in lower case.
pub fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        None if port.is_empty() => None,
        _ => return None,
    };
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || "-._[]:*".contains(c);
    let is_host = !host.is_empty() && host.chars().all(is_host_char);
    is_host.then(|| (host.to_ascii_lowercase(), port))
}

/// One item of `http.allowed_origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// `*`: any origin, `null` too.
    Any,
    /// `null`: pages that have no origin of their own, such as files in most browsers, and every sandboxed frame.
    Null,
    /// `file://`: files, in Electron and some web views.
    File,
    /// `https://shop.example`: this one.
    Exactly(WebOrigin),
    /// `https://*.shop.example`: every host below the one named here, but not that one.
    Below(WebOrigin),
}

impl AllowedOrigin {
    /// Whether pages of anybody have this origin, so that listing it may let in more than was meant. `*` says what it does.
    pub fn is_anybodys(&self) -> bool {
        matches!(self, Self::Null | Self::File)
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Null => f.write_str("null"),
            Self::File => f.write_str("file://"),
            Self::Exactly(origin) => origin.fmt(f),
            Self::Below(WebOrigin { scheme, host, port }) => {
                write!(f, "{scheme}://*.{host}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

pub(super) fn allowed_origin() -> Rule<AllowedOrigin> {
    let allowed = "*, an origin such as https://shop.example (without a path; a host in punycode), \
                   https://*.shop.example, null, or file://";
    Rule::new(allowed, |text| {
        match text {
            "*" => return Some(AllowedOrigin::Any),
            "null" => return Some(AllowedOrigin::Null),
            "file://" => return Some(AllowedOrigin::File),
            _ => {}
        }
        let origin: WebOrigin = text.parse().ok()?;
        match origin.host.strip_prefix("*.") {
            _ if origin.host.matches('*').count() > 1 => None,
            Some(parent) => Some(AllowedOrigin::Below(WebOrigin { host: parent.to_owned(), ..origin })),
            None => (!origin.host.contains('*')).then_some(AllowedOrigin::Exactly(origin)),
        }
    })
}
