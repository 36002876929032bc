//! What of a value may be shown, by `ordercast config` and in problems. What a secret is, whole or in part, never is.

use std::path::Path;

/// Stands for a secret wherever settings are shown.
pub(super) const STARS: &str = "***";

/// Longest value quoted in a problem, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// Nothing of a secret.
pub(super) fn nothing(_: &str) -> String {
    STARS.to_owned()
}

/// A value that is no secret, without what people put there by mistake or because it can stand there: a key in PEM;
/// user, password and the parameters' values of a URL, which may be one that no parser takes.
pub(super) fn plain(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return STARS.to_owned();
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (rest, fragment) = rest.split_once('#').map_or((rest, ""), |(rest, _)| (rest, "#***"));
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let mut shown = format!("{scheme}://{user}{place}");
    for (index, parameter) in query.iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        // Without a name it is all value.
        if let Some((name, _)) = parameter.split_once('=') {
            shown.push_str(name);
            shown.push('=');
        }
        shown.push_str(STARS);
    }
    shown + fragment
}

/// The path of a file, if it leads into a directory that is there. What does not may be the secret itself, given where
/// its file belongs.
pub(super) fn path(text: &str) -> Option<&str> {
    let is_path = text.starts_with(['/', '.']) && Path::new(text).parent().is_some_and(|parent| parent.is_dir());
    is_path.then_some(text)
}

/// A value as a problem quotes it: without what is secret, escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let shown = plain(text);
    match shown.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}…", &shown[..end]),
        None => format!("{shown:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_neither_password_nor_values_are_shown_however_broken_it_is() {
        for (text, shown) in [
            ("https://login.example/keys?apikey=s3cret&x=1", "https://login.example/keys?apikey=***&x=***"),
            ("https://login.example/keys?s3cret", "https://login.example/keys?***"),
            ("https://me:s3cret@login.example/keys#s3cret", "https://***@login.example/keys#***"),
            ("http://me:s3/c?r#e@t@kafka:9092", "http://***@kafka:9092"),
            ("https://*.shop.example:8443", "https://*.shop.example:8443"),
            ("kafka-1:9092", "kafka-1:9092"),
            ("-----BEGIN PRIVATE KEY-----\ns3cret", "***"),
        ] {
            assert_eq!(plain(text), shown, "{text}");
        }
    }

    #[test]
    fn a_path_is_shown_where_it_leads_somewhere() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert_eq!(path(missing.to_str().unwrap()), missing.to_str());
        for secret in ["s3cret", "/s3/cret", "s3/cret", ""] {
            assert_eq!(path(secret), None, "{secret}");
        }
    }
}
