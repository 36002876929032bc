//! The settings as they took effect, for people to read. Made of what the reader kept, in which secrets are starred.

use std::fmt::Write;

use super::{SettingsError, Sources, read};

/// The settings of `sources` as TOML, each with where it came from, secrets starred.
pub fn effective_toml(sources: &Sources) -> Result<String, SettingsError> {
    let (_, entries) = read(sources, &[])?;
    let mut toml = String::new();
    let mut table = String::new();
    for entry in entries {
        // A property's own dots are part of its name, so its name is quoted in a table of its own.
        let (header, name) = match entry.name.strip_prefix("properties.") {
            Some(property) => (format!("{}.properties", entry.section), format!("{property:?}")),
            None => (entry.section.to_owned(), entry.name.clone()),
        };
        // What stands in no section comes first.
        if header != table {
            let gap = if toml.is_empty() { "" } else { "\n" };
            push(&mut toml, format_args!("{gap}[{header}]"));
            table = header;
        }
        match entry.literal {
            Some(literal) => push(&mut toml, format_args!("{name} = {literal} # {}", entry.origin)),
            None => push(&mut toml, format_args!("# {name} is not set")),
        }
    }
    Ok(toml)
}

fn push(toml: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(toml, "{line}").expect("writing to a string cannot fail");
}
