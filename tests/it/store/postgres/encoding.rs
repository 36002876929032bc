//! A database that cannot hold all text.

use ordercast::store::StoreError;

use crate::{
    cli::{answer, ordercast},
    store::databases::Database,
};

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_with_its_name_and_what_to_do() {
    for encoding in ["LATIN1", "SQL_ASCII", "WIN1252", "EUC_JP"] {
        let options = format!("encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0");
        let database = Database::postgres_with(&options).await;
        for outcome in [database.store.migrate().await, database.store.check_schema().await] {
            let Err(StoreError::Encoding { encoding: found, .. }) = &outcome else { panic!("{encoding}: {outcome:?}") };
            assert_eq!(found, encoding);
            assert!(!outcome.unwrap_err().is_retryable());
        }
        let settings = [("ORDERCAST__DATABASE__URL", &*database.url), ("ORDERCAST__KAFKA__BROKERS", "127.0.0.1:1")];
        let migrated = answer(ordercast(&std::env::temp_dir(), &["migrate"], &settings));
        assert_eq!(migrated.code, Some(1), "{}", migrated.stderr);
        for told in [encoding, "UTF8", "template0", "database.url", database.url.rsplit('/').next().unwrap()] {
            assert!(migrated.stderr.contains(told), "{told}: {}", migrated.stderr);
        }
        database.drop().await;
    }
}
