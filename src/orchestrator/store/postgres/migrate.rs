//! The schema in PostgreSQL: all steps in one transaction, so that servers that start at once do it once.

use super::database::WRITER_LOCK;
use super::fence::NOW;
use super::link::Link;
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::sql::schema::{MIGRATIONS, for_postgres, newest};
use crate::orchestrator::store::sql::{Session, SqlError, values};

/// The version from which on the database knows its servers.
const SERVERS_SINCE: i64 = 6;

/// Held by whoever changes the schema.
const SCHEMA_LOCK: i64 = 0x706f_6469_756d_0002;

/// Brings the schema to the newest version.
pub fn migrate(link: &mut Link) -> Result<(), StoreError> {
    migrate_to(link, newest())
}

/// Brings it to a version, unless it is newer than that already.
pub fn migrate_to(link: &mut Link, wanted: i64) -> Result<(), StoreError> {
    let found = steps(link, wanted).map_err(|error| error.during("migrate its schema"))?;
    if found > newest() {
        let place = "the database".to_owned();
        return Err(StoreError::NewerSchema { place, found, supported: newest() });
    }
    Ok(())
}

/// Does what is missing; the version that was found.
fn steps(link: &mut Link, wanted: i64) -> Result<i64, SqlError> {
    link.batch(&format!(
        "BEGIN; SELECT pg_advisory_xact_lock({SCHEMA_LOCK}); SELECT pg_advisory_xact_lock({WRITER_LOCK}); \
         CREATE TABLE IF NOT EXISTS podium_schema (version BIGINT NOT NULL)"
    ))?;
    let session: &mut dyn Session = link;
    let encoding = session.first("SHOW server_encoding", &[], |row| row.get::<String>("server_encoding"))?;
    if let Some(other) = encoding.filter(|encoding| encoding != "UTF8") {
        return Err(SqlError::Failed(format!("its encoding is {other}; create it with ENCODING 'UTF8'")));
    }
    let found = session.number("SELECT coalesce(max(version), 0) AS n FROM podium_schema", &[])?;
    let missing = (1..).zip(MIGRATIONS).filter(|(version, _)| (found + 1..=wanted).contains(version));
    for (version, step) in missing {
        link.batch(&for_postgres(step))?;
        Session::execute(link, "INSERT INTO podium_schema (version) VALUES (?1)", values![version])?;
    }
    if (SERVERS_SINCE..wanted).contains(&found) {
        // They do not know what they would write to.
        let sql = format!("UPDATE servers SET ended = {NOW}, ended_why = ?1 WHERE ended IS NULL");
        let why = format!("a newer version of the program has brought the database to schema version {wanted}");
        Session::execute(link, &sql, values![why])?;
    }
    link.batch("COMMIT")?;
    Ok(found)
}
