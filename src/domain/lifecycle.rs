//! The lifecycle: which statuses there are, and which of them are terminal, as the settings say.
//!
//! Upstream's spelling is shown as sent; it is compared without regard to case, with `-` and space as `_`.

/// The configured statuses, folded.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    statuses: Box<[Box<str>]>,
    terminal: Box<[Box<str>]>,
}

impl Lifecycle {
    /// Takes the statuses an event may have (none stands for any) and those after which nothing more is expected.
    pub fn new(statuses: &[String], terminal: &[String]) -> Self {
        let own = |names: &[String]| names.iter().map(|name| folded(name).collect::<String>().into()).collect();
        Self { statuses: own(statuses), terminal: own(terminal) }
    }

    /// Whether an event may have this status.
    pub fn knows(&self, status: &str) -> bool {
        self.statuses.is_empty() || contains(&self.statuses, status)
    }

    /// Whether the order is over with this status.
    pub fn is_terminal(&self, status: &str) -> bool {
        contains(&self.terminal, status)
    }
}

fn contains(names: &[Box<str>], status: &str) -> bool {
    names.iter().any(|name| name.chars().eq(folded(status)))
}

fn folded(status: &str) -> impl Iterator<Item = char> {
    status.chars().flat_map(char::to_lowercase).map(|char| if matches!(char, '-' | ' ') { '_' } else { char })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifecycle(statuses: &[&str], terminal: &[&str]) -> Lifecycle {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Lifecycle::new(&own(statuses), &own(terminal))
    }

    #[test]
    fn case_dash_and_space_do_not_matter() {
        let lifecycle = lifecycle(&["out_for_delivery", "Zugestellt", "ÜBERGEBEN"], &["Delivered", "picked-up"]);
        for status in ["OUT_FOR_DELIVERY", "out-for-delivery", "Out for Delivery", "zugestellt", "übergeben"] {
            assert!(lifecycle.knows(status), "{status}");
        }
        for status in ["out__for_delivery", "out_for_deliver", "out_for_delivery_", "outfordelivery", ""] {
            assert!(!lifecycle.knows(status), "{status}");
        }
        for status in ["DELIVERED", "PICKED UP", "picked_up"] {
            assert!(lifecycle.is_terminal(status), "{status}");
        }
        assert!(!lifecycle.is_terminal("undelivered"));
    }

    #[test]
    fn without_configured_statuses_any_is_known() {
        let lifecycle = lifecycle(&[], &["delivered"]);
        assert!(lifecycle.knows("anything"));
        assert!(!lifecycle.is_terminal("anything"));
    }
}
