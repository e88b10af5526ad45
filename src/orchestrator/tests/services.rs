//! Jobs whose task comes from Puppet Server and whose nodes come from PuppetDB, both played.

use super::*;
use crate::https::testing::{Received, Reply};
use crate::orchestrator::rbac::permission::{Action, Grant};
use crate::orchestrator::rbac::users::{RoleFields, UserFields};
use crate::orchestrator::sources::fake_service::Fake;

/// Puppet Server and PuppetDB in one, with the task `demo`.
fn both(puppetdb: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::new(move |received| match received.path.as_str() {
        "/puppet/v3/tasks/demo/init?environment=production" => Reply::ok(
            json!({
                "name": "demo",
                "metadata": {"parameters": {"name": {"type": "String[1]"}, "port": {"type": "Stdlib::Port"}}},
                "files": [{"filename": "init.sh", "sha256": "ab".repeat(32), "size_bytes": 3, "uri": {
                    "path": "/puppet/v3/static_file_content/modules/demo/tasks/init.sh",
                    "params": {"environment": "production", "code_id": "urn:code-id:1:beef"}}}],
            })
            .to_string(),
        ),
        "/pdb/query/v4" => puppetdb(received),
        _ => Reply::of(404, "Could not find environment 'nosuch'"),
    })
}

fn started(dir: &TempDir, fake: &Fake) -> (Orchestrator, Arc<Mutex<Vec<Value>>>) {
    let settings = OrchestratorSettings {
        code_source: CodeSource::PuppetServer(fake.settings()),
        puppetdb: Some(fake.settings()),
        ..settings(dir.path())
    };
    start_with(&settings, &fake.identity(), true)
}

fn by_query() -> TaskCommand {
    let query = Scope::Query(json!("nodes[certname] { }"));
    TaskCommand { terms: on(query), ..command(json!({"name": "ada", "port": 8140})) }
}

#[test]
fn a_task_of_puppet_server_runs_on_the_nodes_of_puppetdb() {
    let dir = tempfile::tempdir().unwrap();
    let fake = both(|_| Reply::ok(r#"[{"certname": "a"}]"#));
    let (orchestrator, seen) = started(&dir, &fake);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    let id = orchestrator.run_task(&subject, by_query()).unwrap();
    until("the end of the job", || orchestrator.job(id).unwrap().state == JobState::Finished);
    let job = orchestrator.job(id).unwrap();
    let scope = job.spec.terms.scope;
    assert_eq!(scope, Scope::Query(json!("nodes[certname] { }")));
    let Work::Task(work) = job.spec.work else { panic!("a task") };
    assert_eq!((json!(work.params), work.sensitive), (json!({"name": "ada"}), vec!["port".to_owned()]));
    let seen = seen.lock().unwrap();
    let request = seen.iter().find(|data| data["module"] == "task").unwrap();
    assert_eq!(request["params"]["files"][0]["uri"]["params"]["code_id"], "urn:code-id:1:beef");
    assert_eq!(request["params"]["input"]["port"], 8140);
    let by_name = Scope::Nodes(vec!["a".into()]);
    assert_eq!(orchestrator.needs(Some(&scope)), [Needed::PuppetDb, Needed::PuppetServer]);
    assert_eq!(orchestrator.needs(Some(&by_name)), [Needed::PuppetServer]);
    assert_eq!(orchestrator.needs(None), [Needed::PuppetServer]);
    until("both to be seen up", || orchestrator.services_up() == [("puppetserver_up", true), ("puppetdb_up", true)]);
    orchestrator.stop();
}

#[test]
fn permissions_that_puppetdb_limits_wait_for_their_turn_there() {
    let dir = tempfile::tempdir().unwrap();
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    let fake = both(move |_| {
        *counted.lock().unwrap() += 1;
        Reply::ok(r#"[{"certname": "a"}]"#)
    });
    let (orchestrator, _) = started(&dir, &fake);
    let (rbac, admin) = (orchestrator.rbac(), admin(&orchestrator, &dir));
    let limited = |task: &str, scope| Grant { scope: Some(scope), ..Grant::new(Action::TasksRun, task) };
    let query = || Scope::Query(json!("nodes[certname] { }"));
    let permissions =
        vec![limited("demo", query()), limited("*", query()), limited("plain", Scope::Nodes(vec!["a".into()]))];
    let role = RoleFields { display_name: "limited".into(), permissions, ..RoleFields::default() };
    let role = rbac.add_role(&admin, role).unwrap();
    let fields = UserFields { login: "ada".into(), role_ids: vec![role.id], ..UserFields::default() };
    let ada = crate::orchestrator::rbac::subject(rbac.add_user(&admin, fields, None).unwrap());
    let by_name = Scope::Nodes(vec!["a".into()]);
    let needs = |who: &Subject, task| orchestrator.needs_of(who, task, &by_name).unwrap();
    assert_eq!(needs(&ada, Some("demo")), [Needed::PuppetDb, Needed::PuppetServer]);
    assert_eq!(needs(&ada, None), [Needed::PuppetServer]);
    assert_eq!(needs(&admin, Some("demo")), [Needed::PuppetServer]);
    let command = TaskCommand { terms: on(by_name.clone()), ..by_query() };
    orchestrator.run_task(&ada, command).unwrap();
    assert_eq!(*asked.lock().unwrap(), 1, "both limits are one question");
    orchestrator.stop();
}

#[test]
fn nothing_is_accepted_of_which_the_nodes_are_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let fake =
        both(|received| if received.body.contains("nodes") { Reply::of(503, "starting") } else { Reply::ok("[]") });
    let (orchestrator, _) = started(&dir, &fake);
    let subject = admin(&orchestrator, &dir);
    let refusal = orchestrator.run_task(&subject, by_query()).unwrap_err();
    assert_eq!((refusal.kind, &refusal.details["cause"]), (RefusalKind::PuppetdbError, &json!("failed")));
    assert!(refusal.message.contains("with status 503: starting"), "{refusal}");
    let nobody = TaskCommand { terms: on(Scope::Query(json!("facts {}"))), ..by_query() };
    assert_eq!(orchestrator.run_task(&subject, nobody).unwrap_err().kind, RefusalKind::EmptyTarget);
    let elsewhere = TaskCommand { terms: Terms { environment: "nosuch".into(), ..by_query().terms }, ..by_query() };
    assert_eq!(orchestrator.run_task(&subject, elsewhere).unwrap_err().kind, RefusalKind::UnknownEnvironment);
    assert_eq!(orchestrator.job(JobId(1)).unwrap_err().kind, RefusalKind::UnknownJob);
    let file = orchestrator.code_file("production", "tasks/demo/init.sh").unwrap_err();
    assert!(file.message.contains("in primary-uris of the agent"), "{file}");
    orchestrator.stop();
}

#[test]
fn without_services_nothing_is_said_of_them() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start(&dir, true);
    let subject = admin(&orchestrator, &dir);
    let refusal = orchestrator.run_task(&subject, by_query()).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::ValidationError, "the alias is looked up in the directory: {refusal}");
    assert_eq!((orchestrator.services_up(), orchestrator.needs(Some(&by_query().terms.scope))), (vec![], vec![]));
    assert_eq!(orchestrator.environments().unwrap()[0].name, "production");
    assert_eq!(orchestrator.environment("nosuch").unwrap_err().kind, RefusalKind::UnknownEnvironment);
    orchestrator.stop();
}
