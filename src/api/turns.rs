//! Turns at Puppet Server and PuppetDB: requests that need one of them wait here, where waiting costs no thread, so that
//! many of them at once are served one after the other, and a service that hangs leaves threads for everything else.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use super::shared::{Shared, answer};
use crate::limits::{API_PUPPET_SERVER_TURNS, API_PUPPETDB_TURNS, API_TURN_WAIT_MAX};
use crate::orchestrator::model::{RefusalKind, Scope};
use crate::orchestrator::sources::Needed;

/// Who may ask now.
pub(super) struct Turns {
    puppetdb: Arc<Semaphore>,
    puppet_server: Arc<Semaphore>,
}

impl Turns {
    /// All are free.
    pub(super) fn new() -> Self {
        let turns = |number| Arc::new(Semaphore::new(number));
        Self { puppetdb: turns(API_PUPPETDB_TURNS), puppet_server: turns(API_PUPPET_SERVER_TURNS) }
    }

    async fn take(&self, needed: &[Needed]) -> Result<Vec<OwnedSemaphorePermit>, Problem> {
        let mut taken = Vec::new();
        for service in needed {
            let (turns, name, kind) = match service {
                Needed::PuppetDb => (&self.puppetdb, "PuppetDB and the classifier", RefusalKind::PuppetdbError),
                Needed::PuppetServer => (&self.puppet_server, "Puppet Server", RefusalKind::PuppetserverError),
            };
            let turn = tokio::time::timeout(API_TURN_WAIT_MAX, turns.clone().acquire_owned()).await.map_err(|_| {
                let seconds = API_TURN_WAIT_MAX.as_secs();
                let text =
                    format!("Too many requests wait for {name}: this one had no turn for {seconds} s; try again.");
                Problem::of_kind(StatusCode::SERVICE_UNAVAILABLE, kind, text).with("cause", "busy")
            })?;
            taken.push(turn.expect("the semaphore is never closed"));
        }
        Ok(taken)
    }
}

/// Answers with what needs the source of code, and with a scope its evaluation, once it is this request's turn.
pub(super) async fn answer_in_turn(
    shared: &Arc<Shared>,
    scope: Option<&Scope>,
    status: StatusCode,
    work: impl FnOnce(&Shared) -> Result<Value, Problem> + Send + 'static,
) -> Response<Body> {
    answer_once_served(shared, &shared.backend.needs(scope), status, work).await
}

/// Answers once it is this request's turn at all of these.
pub(super) async fn answer_once_served(
    shared: &Arc<Shared>,
    needed: &[Needed],
    status: StatusCode,
    work: impl FnOnce(&Shared) -> Result<Value, Problem> + Send + 'static,
) -> Response<Body> {
    match shared.turns.take(needed).await {
        Ok(turns) => {
            answer(shared, status, move |shared| {
                let _turns = turns;
                work(shared)
            })
            .await
        }
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `None` if it is nobody's turn now.
    async fn try_take(turns: &Turns, needed: &[Needed]) -> Option<Vec<OwnedSemaphorePermit>> {
        tokio::time::timeout(Duration::ZERO, turns.take(needed)).await.ok().map(Result::unwrap)
    }

    #[test]
    fn whoever_waits_for_puppetdb_holds_up_nobody_at_puppet_server() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let turns = Turns::new();
            let both = [Needed::PuppetDb, Needed::PuppetServer];
            let mut taken = Vec::new();
            for _ in 0..API_PUPPETDB_TURNS {
                taken.push(try_take(&turns, &both).await.unwrap());
            }
            assert!(try_take(&turns, &both).await.is_none());
            for _ in API_PUPPETDB_TURNS..API_PUPPET_SERVER_TURNS {
                taken.push(try_take(&turns, &[Needed::PuppetServer]).await.unwrap());
            }
            assert!(try_take(&turns, &[Needed::PuppetServer]).await.is_none());
            assert!(try_take(&turns, &[]).await.is_some(), "who needs nobody does not wait");
            drop(taken);
            assert!(try_take(&turns, &both).await.is_some());
        });
    }
}
