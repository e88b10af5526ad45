//! A connection to PostgreSQL and the driver on top of it. Whatever it is asked has a time; a connection that took longer,
//! or was lost, is of no use any more. Statements are prepared once per connection.

use std::collections::HashMap;
use std::error::Error as _;
use std::fs;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use futures_core::Stream;
use rustls::ClientConfig;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::{Config, SslMode};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};

use super::tls::Rustls;
use crate::limits::{
    DATABASE_ANSWER_TIMEOUT, DATABASE_CONNECT_TIMEOUT, DATABASE_STATEMENT_TIMEOUT, STORE_RETRY_PAUSE,
    STORE_STATEMENTS_MAX,
};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::sql::{Columns, Look, Row, Session, SqlError, Value};

/// Makes connections.
pub struct Connector {
    config: Config,
    tls: Arc<ArcSwap<ClientConfig>>,
    password_file: Option<PathBuf>,
    /// Since when, and why, nobody gets a connection: whoever comes right after is told the same.
    away: Mutex<Option<(Instant, String)>>,
}

impl Connector {
    /// To the database of this address, with TLS or without.
    pub fn new(
        url: &str,
        tls: Option<Arc<ArcSwap<ClientConfig>>>,
        password_file: Option<PathBuf>,
    ) -> Result<Self, StoreError> {
        let mut config: Config = url.parse().map_err(|error: Error| lost(&error).during("read its address"))?;
        config
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(DATABASE_CONNECT_TIMEOUT)
            .tcp_user_timeout(DATABASE_ANSWER_TIMEOUT)
            .keepalives_idle(DATABASE_CONNECT_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name("podium");
        }
        let tls = tls.unwrap_or_else(|| {
            let nobody = ClientConfig::builder_with_provider(crate::tls::material::provider())
                .with_safe_default_protocol_versions()
                .expect("the provider has suites for the default versions")
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            Arc::new(ArcSwap::from_pointee(nobody))
        });
        Ok(Self { config, tls, password_file, away: Mutex::new(None) })
    }

    /// A connection. Right after a failure there is none, and nobody waits for that.
    pub fn connect(&self) -> Result<Link, SqlError> {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, cause)) = &*away
            && since.elapsed() < STORE_RETRY_PAUSE / 2
        {
            return Err(SqlError::Lost(cause.clone()));
        }
        let connected = self.attempt();
        *away = match &connected {
            Err(SqlError::Lost(cause)) => Some((Instant::now(), cause.clone())),
            _ => None,
        };
        connected
    }

    fn attempt(&self) -> Result<Link, SqlError> {
        let mut config = self.config.clone();
        if let Some(path) = &self.password_file {
            // Read each time: it may have been changed, on both sides.
            let password = fs::read_to_string(path)
                .map_err(|error| SqlError::Lost(format!("the password file {}: {error}", path.display())))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        let io = |error: std::io::Error| SqlError::Lost(error.to_string());
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(io)?;
        let tls = Rustls(self.tls.load_full());
        let client = within(&runtime, DATABASE_CONNECT_TIMEOUT * 2, async move {
            let (client, connection) = config.connect(tls).await?;
            // What it ends with is told to whoever asks next.
            tokio::spawn(connection);
            Ok(client)
        })?;
        let mut link = Link { runtime, client, statements: HashMap::new() };
        link.batch(&format!(
            "SET statement_timeout = {limit}; SET lock_timeout = {limit}; \
             SET idle_in_transaction_session_timeout = {limit}; \
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
            limit = DATABASE_STATEMENT_TIMEOUT.as_millis()
        ))?;
        Ok(link)
    }
}

/// Waits for an answer.
fn within<T>(
    runtime: &Runtime,
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, SqlError> {
    let answer = runtime.block_on(async { tokio::time::timeout(limit, answer).await });
    answer.map_err(|_| SqlError::Lost(format!("no answer within {} s", limit.as_secs())))?.map_err(|error| told(&error))
}

/// What the database says, or what the connection says if it is lost.
fn told(error: &Error) -> SqlError {
    let Some(db) = error.as_db_error() else { return lost(error) };
    let code = db.code().code();
    // Connections, a full disk, an end of the server, time, a standby: none of it is for good.
    let passes = ["08", "53", "57", "55P03", "25P03", "25006", "40", "28", "3D000"];
    let words = format!("{} ({code})", db.message());
    match code {
        "53100" => SqlError::Full(words),
        code if passes.iter().any(|class| code.starts_with(class)) => SqlError::Lost(words),
        _ => SqlError::Failed(words),
    }
}

fn lost(error: &Error) -> SqlError {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    SqlError::Lost(format!("{error}{cause}"))
}

/// A connection.
pub struct Link {
    runtime: Runtime,
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Link {
    /// Executes statements that have no values.
    pub fn batch(&mut self, sql: &str) -> Result<(), SqlError> {
        within(&self.runtime, DATABASE_ANSWER_TIMEOUT, self.client.batch_execute(sql))
    }

    /// The same; whether any row came back.
    pub fn batch_has_rows(&mut self, sql: &str, column: &str) -> Result<bool, SqlError> {
        let messages = within(&self.runtime, DATABASE_ANSWER_TIMEOUT, self.client.simple_query(sql))?;
        let is_row = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(row) if row.columns().iter().any(|found| found.name() == column));
        Ok(messages.iter().any(is_row))
    }

    /// Whether it is known to be of no use any more.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn prepared(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Statement, SqlError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = values
            .iter()
            .map(|value| match value {
                Value::Integer(_) => Type::INT8,
                Value::Text(_) => Type::TEXT,
                Value::Bytes(_) => Type::BYTEA,
            })
            .collect();
        let text = sql.replace('?', "$");
        let prepare = self.client.prepare_typed(&text, &types);
        let statement = within(&self.runtime, DATABASE_ANSWER_TIMEOUT, prepare)?;
        if self.statements.len() >= STORE_STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Session for Link {
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, SqlError> {
        let statement = self.prepared(sql, values)?;
        let executed = self.client.execute_raw(&statement, values.iter().map(Bound));
        let rows = within(&self.runtime, DATABASE_ANSWER_TIMEOUT, executed)?;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], look: Look<'_>) -> Result<(), SqlError> {
        let statement = self.prepared(sql, values)?;
        let Self { runtime, client, .. } = self;
        let asked = client.query_raw(&statement, values.iter().map(Bound));
        let rows = within(runtime, DATABASE_ANSWER_TIMEOUT, asked)?;
        let mut rows = pin!(rows);
        loop {
            let next = poll_fn(|context| rows.as_mut().poll_next(context));
            let row = within(runtime, DATABASE_ANSWER_TIMEOUT, async { next.await.transpose() })?;
            let Some(row) = row else { return Ok(()) };
            if look(&Row::new(&Found(&row)))? == ControlFlow::Break(()) {
                return Ok(());
            }
        }
    }
}

/// A value on its way.
#[derive(Debug)]
struct Bound<'v>(&'v Value<'v>);

impl ToSql for Bound<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            Value::Integer(value) => value.to_sql(wanted, out),
            // PostgreSQL's text has no such character; agents' output may.
            Value::Text(Some(text)) if text.contains('\0') => text.replace('\0', "\u{fffd}").to_sql(wanted, out),
            Value::Text(value) => value.as_deref().to_sql(wanted, out),
            Value::Bytes(value) => value.to_sql(wanted, out),
        }
    }

    fn accepts(wanted: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(wanted)
    }

    to_sql_checked!();
}

struct Found<'r>(&'r tokio_postgres::Row);

impl Found<'_> {
    fn column<'s, T: FromSql<'s>>(&'s self, column: &str) -> Result<T, SqlError> {
        self.0.try_get(column).map_err(|_| SqlError::Unknown(column.to_owned()))
    }
}

impl Columns for Found<'_> {
    fn integer(&self, column: &str) -> Result<Option<i64>, SqlError> {
        let found = self.0.columns().iter().find(|found| found.name() == column);
        match found.map(|found| found.type_().clone()) {
            Some(Type::INT4) => Ok(self.column::<Option<i32>>(column)?.map(i64::from)),
            _ => self.column(column),
        }
    }

    fn text(&self, column: &str) -> Result<Option<&str>, SqlError> {
        self.column(column)
    }

    fn bytes(&self, column: &str) -> Result<Option<&[u8]>, SqlError> {
        self.column(column)
    }
}
