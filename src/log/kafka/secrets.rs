//! What no line about Kafka may repeat: librdkafka's messages quote what they were given, whole or from somewhere on.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use crate::config;

/// So many bytes in a row of a secret are hidden.
const WINDOW: usize = 8;
/// A shorter value is no secret, and would be found everywhere.
const SHORTEST: usize = 4;
const STARS: &str = "***";

/// Values of properties that may be secret.
#[derive(Default)]
pub(crate) struct Secrets {
    windows: HashSet<[u8; WINDOW]>,
    /// Those that are shorter than a window.
    short: Vec<String>,
}

impl Secrets {
    /// All that the settings give for properties that are not known to be harmless.
    pub(crate) fn of(settings: &config::Kafka) -> Self {
        let secret = settings.properties.iter().filter(|(name, _)| !config::is_harmless(name));
        let mut secrets = Self::default();
        secret.for_each(|(_, property)| secrets.add(property.expose().trim()));
        secrets
    }

    fn add(&mut self, secret: &str) {
        match secret.len() {
            0..SHORTEST => {}
            SHORTEST..WINDOW => self.short.push(secret.to_owned()),
            _ => self
                .windows
                .extend(secret.as_bytes().windows(WINDOW).filter_map(|window| <[u8; WINDOW]>::try_from(window).ok())),
        }
    }

    /// The text with stars in place of all that is a part of a secret.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut hidden: Vec<Range<usize>> = Vec::new();
        let bytes = text.as_bytes().windows(WINDOW).enumerate();
        hidden.extend(bytes.filter(|(_, window)| self.windows.contains(*window)).map(|(at, _)| at..at + WINDOW));
        hidden.extend(
            self.short
                .iter()
                .flat_map(|secret| text.match_indices(secret.as_str()).map(|(at, found)| at..at + found.len())),
        );
        if hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        hidden.sort_unstable_by_key(|range| range.start);
        let (mut shown, mut hidden_to) = (String::new(), None);
        for range in hidden {
            // A window may begin or end within a character, which is hidden with it.
            let (from, to) = (text.floor_char_boundary(range.start), text.ceil_char_boundary(range.end));
            if hidden_to.is_none_or(|end| from > end) {
                shown.push_str(&text[hidden_to.unwrap_or(0)..from]);
                shown.push_str(STARS);
            }
            hidden_to = hidden_to.max(Some(to));
        }
        shown.push_str(&text[hidden_to.unwrap_or(0)..]);
        Cow::Owned(shown)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STARS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_whole_and_in_part() {
        let mut secrets = Secrets::default();
        for secret in ["principal=admin token=s3cret-s3cret", "hunter2", "abc", "pässwörd-größer"] {
            secrets.add(secret);
        }
        for (text, shown) in [
            ("no such thing: hunter2 (after 1ms)", "no such thing: *** (after 1ms)"),
            ("beginning at: token=s3cret-s3cret", "beginning at:***"),
            ("principal=admin token=s3cret-s3cret", "***"),
            ("value \"s3cret-s\" and s3cret", "value \"***\" and s3cret"),
            ("hunter2hunter2, hunter2", "***, ***"),
            ("ends in wörd-größ", "ends in ***"),
            ("abc is too short to be told from others", "abc is too short to be told from others"),
            ("", ""),
        ] {
            assert_eq!(secrets.hide(text), shown, "{text}");
        }
        assert!(matches!(Secrets::default().hide("hunter2"), Cow::Borrowed("hunter2")));
    }
}
