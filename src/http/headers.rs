//! What a header says: nothing, a text, or something that cannot be read, which is not the same as nothing.

use actix_web::http::header::{HeaderMap, HeaderName};

/// What a header says that has one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// It did not come.
    Nothing,
    /// This.
    Text(&'a str),
    /// Bytes that are no visible ASCII, or several values where only one can be meant.
    Unreadable,
}

impl<'a> Said<'a> {
    /// Of a header that comes once.
    pub(super) fn once(headers: &'a HeaderMap, name: HeaderName) -> Self {
        let mut values = headers.get_all(name);
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => value.to_str().map_or(Self::Unreadable, Self::Text),
            (Some(_), Some(_)) => Self::Unreadable,
        }
    }

    /// Of the first of several, where each of a chain of proxies may have added its own.
    pub(super) fn first(headers: &'a HeaderMap, name: HeaderName) -> Self {
        match headers.get(name) {
            None => Self::Nothing,
            Some(value) => value.to_str().map_or(Self::Unreadable, Self::Text),
        }
    }

    /// For whom it is enough that no rule fits an empty text: what cannot be read is one.
    pub(super) fn or_empty(self) -> Option<&'a str> {
        match self {
            Self::Nothing => None,
            Self::Text(text) => Some(text),
            Self::Unreadable => Some(""),
        }
    }
}

/// All values of a header; `None`: one of them cannot be read.
pub(super) fn texts(headers: &HeaderMap, name: HeaderName) -> Option<Vec<&str>> {
    headers.get_all(name).map(|value| value.to_str().ok()).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderValue, ORIGIN};

    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ORIGIN, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_cannot_be_read_is_not_what_is_not_there() {
        type Case<'a> = (&'a [&'a [u8]], Said<'a>, Said<'a>, Option<usize>);
        let cases: [Case<'_>; 8] = [
            (&[], Said::Nothing, Said::Nothing, Some(0)),
            (&[b"https://a.example"], Said::Text("https://a.example"), Said::Text("https://a.example"), Some(1)),
            (&[b""], Said::Text(""), Said::Text(""), Some(1)),
            (&[b"a", b"b"], Said::Unreadable, Said::Text("a"), Some(2)),
            (&[b"a", b"a"], Said::Unreadable, Said::Text("a"), Some(2)),
            (&["https://bücher.example".as_bytes()], Said::Unreadable, Said::Unreadable, None),
            (&[b"https://a.example\xff"], Said::Unreadable, Said::Unreadable, None),
            (&[b"a", b"\x80"], Said::Unreadable, Said::Text("a"), None),
        ];
        for (values, once, first, all) in cases {
            let headers = headers(values);
            assert_eq!(Said::once(&headers, ORIGIN), once, "{values:?}");
            assert_eq!(Said::first(&headers, ORIGIN), first, "{values:?}");
            assert_eq!(texts(&headers, ORIGIN).map(|texts| texts.len()), all, "{values:?}");
        }
    }
}
