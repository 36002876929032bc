//! What settings must hold together: contradictions, named by both keys, and what a command cannot do without.

use super::{Settings, reader::Reader, sources::variable};

/// What a command cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `kafka.brokers`.
    Brokers,
    /// `database.url`.
    Database,
    /// `auth.secret`, `auth.public_key_files` or `auth.jwks_url`: to check tokens, where there are viewers.
    TokenKeys,
    /// `auth.secret`: to sign tokens.
    Secret,
    /// All of `pipelines`.
    AllPipelines,
}

pub(super) fn check(settings: &Settings, needs: &[Need], reader: &mut Reader) {
    pipelines(settings, reader);
    listeners(settings, reader);
    topics(settings, reader);
    keys(settings, reader);
    ages(settings, reader);
    for need in needs {
        missing(*need, settings, reader);
    }
}

fn pipelines(settings: &Settings, reader: &mut Reader) {
    if !settings.pipelines.push && !settings.pipelines.record {
        reader
            .refuse(&["pipelines"], "pipelines: must name push, record or both: an instance without any does nothing");
    }
}

fn listeners(settings: &Settings, reader: &mut Reader) {
    let (public, operations) = (settings.http.listen, settings.operations.listen);
    if !settings.pipelines.push {
        return;
    }
    let overlap = public.ip() == operations.ip() || public.ip().is_unspecified() || operations.ip().is_unspecified();
    if public.port() != 0 && public.port() == operations.port() && overlap {
        reader.refuse(
            &["http.listen", "operations.listen"],
            format!("http.listen = {public} and operations.listen = {operations}: must be two different ports"),
        );
    }
}

fn topics(settings: &Settings, reader: &mut Reader) {
    let kafka = &settings.kafka;
    let topics = [
        ("kafka.topic", &kafka.topic),
        ("kafka.dead_letter_topic", &kafka.dead_letter_topic),
        ("kafka.control_topic", &kafka.control_topic),
    ];
    for (index, (key, topic)) in topics.iter().enumerate() {
        for (other, _) in topics[..index].iter().filter(|(_, other)| other == topic) {
            reader.refuse(&[other, key], format!("{other} and {key}: must not both be {topic:?}"));
        }
    }
}

fn ages(settings: &Settings, reader: &mut Reader) {
    let (window, age) = (settings.session.terminal_window, settings.lifecycle.erase_after);
    if age.is_some_and(|age| age <= window) {
        reader.refuse(
            &["lifecycle.erase_after", "session.terminal_window"],
            "lifecycle.erase_after: must be longer than session.terminal_window, for which ended orders are listed",
        );
    }
}

fn keys(settings: &Settings, reader: &mut Reader) {
    let auth = &settings.auth;
    let (has_secret, has_files) = (auth.secret.is_some(), !auth.public_key_files.is_empty());
    if auth.algorithms.is_empty() {
        reader.refuse(&["auth.algorithms"], "auth.algorithms: must name at least one algorithm");
    }
    let sources =
        [("auth.secret", has_secret), ("auth.public_key_files", has_files), ("auth.jwks_url", auth.jwks_url.is_some())];
    let given: Vec<&str> = sources.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
    if given.len() > 1 {
        reader.refuse(&given, format!("{}: only one source of keys may be given", given.join(" and ")));
        return;
    }
    if auth.jwks_cache_file.is_some() && auth.jwks_url.is_none() {
        reader.refuse(
            &["auth.jwks_cache_file", "auth.jwks_url"],
            "auth.jwks_cache_file without auth.jwks_url: there is no key set to keep",
        );
    }
    if auth.previous_secret.is_some() && !has_secret {
        reader.refuse(
            &["auth.previous_secret", "auth.secret"],
            "auth.previous_secret without auth.secret: give the secret that signs now as auth.secret",
        );
    }
    for algorithm in &auth.algorithms {
        if let ([source], true) = (&*given, algorithm.is_hmac() && !has_secret) {
            reader.refuse(
                &["auth.algorithms", source],
                format!("auth.algorithms names {algorithm:?}, which needs auth.secret, but {source} is given"),
            );
        }
        if !algorithm.is_hmac() && has_secret {
            reader.refuse(
                &["auth.algorithms", "auth.secret"],
                format!(
                    "auth.algorithms names {algorithm:?}, which needs auth.public_key_files, but auth.secret is given"
                ),
            );
        }
    }
}

fn missing(need: Need, settings: &Settings, reader: &mut Reader) {
    let auth = &settings.auth;
    let (is_missing, keys): (bool, &[&str]) = match need {
        Need::Brokers => (settings.kafka.brokers.is_empty(), &["kafka.brokers"]),
        Need::Database => (settings.database.url.is_none(), &["database.url"]),
        Need::Secret => (auth.secret.is_none(), &["auth.secret"]),
        Need::TokenKeys => {
            let any = auth.secret.is_some() || !auth.public_key_files.is_empty() || auth.jwks_url.is_some();
            (!any && settings.pipelines.push, &["auth.secret", "auth.public_key_files", "auth.jwks_url"])
        }
        Need::AllPipelines => {
            if !settings.pipelines.are_all() {
                let message = format!("pipelines = {}: this command runs both, push and record", settings.pipelines);
                reader.refuse(&["pipelines"], message);
            }
            return;
        }
    };
    if is_missing {
        let variables: Vec<_> = keys.iter().map(|key| variable(key)).collect();
        let message = format!("{}: must be given (as {})", keys.join(" or "), variables.join(" or "));
        reader.refuse(keys, message);
    }
}
