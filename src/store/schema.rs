//! Whether a database's schema is the one this binary was built for.

use sqlx::migrate::Migrator;

use super::StoreError;

/// Compares the version found in the database (0: no schema at all) with the newest embedded one.
pub(super) fn compare(found: i64, migrator: &Migrator) -> Result<(), StoreError> {
    let newest = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    match found {
        found if found < newest => Err(StoreError::SchemaBehind { found, needed: newest }),
        found if found > newest => Err(StoreError::SchemaAhead { found, known: newest }),
        _ => Ok(()),
    }
}
