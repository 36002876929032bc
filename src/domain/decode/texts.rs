//! Texts that decoding had to make, of Base64 or of strings in strings: what is read from them borrows them.

use std::cell::OnceCell;

/// Keeps texts for as long as a record is decoded. A list that only grows; nearly always it is empty.
#[derive(Debug, Default)]
pub(super) struct Texts(OnceCell<Box<(String, Texts)>>);

impl Texts {
    /// Keeps one text more.
    pub(super) fn keep(&self, text: String) -> &str {
        let mut last = self;
        while let Some(kept) = last.0.get() {
            last = &kept.1;
        }
        &last.0.get_or_init(|| Box::new((text, Self::default()))).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_kept_as_it_was() {
        let texts = Texts::default();
        let kept: Vec<&str> = (0..5).map(|number| texts.keep(number.to_string())).collect();
        assert_eq!(kept, ["0", "1", "2", "3", "4"]);
    }
}
