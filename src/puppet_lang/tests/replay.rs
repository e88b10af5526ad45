//! Calls to a host: waiting, replay, branches, errors; and the limits of an evaluation.

use super::super::{Answer, Environment, Failure, Host, HostCall, Program, Progress, Recorded, Replay, Source, Value};
use super::{environment, evaluate};

const PLAN: &str = r#"
plan demo::roll(TargetSpec $targets, Integer $count = 2, Optional[String] $note = undef) {
  $first = run_task('demo::check', $targets, 'count' => $count)
  $all = parallelize([1, 2, 3]) |$i| {
    $a = run_task('demo::step', $targets, 'i' => $i)
    $b = run_task('demo::step', $targets, 'i' => $i, 'after' => $a)
    $b
  }
  $caught = catch_errors() || { run_command('false', $targets) }
  $kind = case $caught { Error['demo/failed']: { $caught.kind } default: { 'none' } }
  return([$first, $all, $kind])
}
"#;

fn parse(environment: &Environment, text: &str) -> Program {
    let acts = |name: &str| matches!(name, "run_task" | "run_command");
    environment.parse(&Source::new("roll.pp", text), &acts).unwrap_or_else(|problems| panic!("{}", problems[0]))
}

fn replay() -> Replay {
    Replay::new(["run_task", "run_command"])
}

fn answer(call: &HostCall) -> Recorded {
    let answer = match call.function.as_str() {
        "run_command" => Err(Box::new(Failure::new("demo/failed", "it failed"))),
        _ => Ok(Value::from(call.id.as_str())),
    };
    Recorded { fingerprint: call.fingerprint(), answer }
}

/// Runs to the end, one answer at a time in an order of its own; tells the calls of every time that it waited.
fn run(reverse: bool) -> (Vec<Vec<String>>, Progress) {
    let environment = environment();
    let program = parse(&environment, PLAN);
    let parameters = [("targets".to_owned(), Value::from("a.example"))];
    let mut log: Vec<(String, Recorded)> = Vec::new();
    let mut waits = Vec::new();
    loop {
        let mut host = replay();
        log.iter().for_each(|(id, recorded)| host.record(id.clone(), recorded.clone()));
        let progress = environment.run_plan(&program, &parameters, &mut host);
        let mut waiting = host.take_waiting();
        if progress != Progress::Waiting {
            return (waits, progress);
        }
        waits.push(waiting.iter().map(|call| call.id.clone()).collect());
        if reverse {
            waiting.reverse();
        }
        log.push((waiting[0].id.clone(), answer(&waiting[0])));
    }
}

#[test]
fn a_plan_comes_to_the_same_end_in_whatever_order_answers_come() {
    let (waits, progress) = run(false);
    assert_eq!(waits[0], ["0"]);
    assert_eq!(waits[1], ["1.0.0", "1.1.0", "1.2.0"]);
    assert_eq!(waits[2], ["1.0.1", "1.1.0", "1.2.0"]);
    assert_eq!(waits.len(), 8);
    let branches = ["1.0.1", "1.1.1", "1.2.1"].map(Value::from);
    assert_eq!(progress, Progress::Finished(Value::array(["0".into(), Value::array(branches), "demo/failed".into()])));
    assert_eq!(run(true).1, progress);
}

#[test]
fn a_plan_that_has_changed_does_not_go_on() {
    let environment = environment();
    let program = parse(&environment, "plan demo::p() { run_task('a', 'n', 'secret' => Sensitive('hunter2')) }");
    let mut host = replay();
    assert_eq!(environment.run_plan(&program, &[], &mut host), Progress::Waiting);
    let call = host.take_waiting().remove(0);
    assert!(!call.fingerprint().contains("hunter2"));
    host.record("0", Recorded { fingerprint: "run_task('b', 'n')".to_owned(), answer: Ok(Value::Undef) });
    match environment.run_plan(&program, &[], &mut host) {
        Progress::Failed(failure) => assert_eq!(failure.kind, "podium/replay-differs"),
        other => panic!("{other:?}"),
    }
    host.record("0", answer(&call));
    assert_eq!(environment.run_plan(&program, &[], &mut host), Progress::Finished("0".into()));
}

#[test]
fn parameters_are_checked_and_described() {
    let environment = environment();
    let program = parse(&environment, PLAN);
    let infos = program.parameters();
    let texts: Vec<_> =
        infos.iter().map(|one| (one.name.as_str(), one.data_type.as_str(), one.default.as_deref())).collect();
    assert_eq!(
        texts,
        [("targets", "TargetSpec", None), ("count", "Integer", Some("2")), ("note", "Optional[String]", Some("undef"))]
    );
    for (parameters, expected) in [
        (vec![], "parameter 'targets' expects"),
        (vec![("targets", Value::from("a")), ("nosuch", Value::Undef)], "no parameter named 'nosuch'"),
        (
            vec![("targets", Value::from("a")), ("count", Value::from("x"))],
            "'count' expects an Integer value, got String",
        ),
    ] {
        let parameters: Vec<_> = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        match environment.run_plan(&program, &parameters, &mut replay()) {
            Progress::Failed(failure) => assert!(failure.message.contains(expected), "{failure}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_not_offered_is_named_when_it_is_parsed() {
    let text =
        "plan demo::p() {\n  nosuch(1)\n  $x = 1\n  $x\n  [1].each |$i| { file::write('a', 'b') }\n  demo::twice(2)\n}";
    let problems = environment().parse(&Source::new("p.pp", text), &|_| false).unwrap_err();
    let found: Vec<_> = problems.iter().map(|one| (one.line, one.column)).collect();
    assert_eq!(found, [(4, 3), (2, 3), (5, 19)]);
    assert!(problems[2].message.contains("plans write no files"));
    let resources = environment().parse(&Source::new("p.pp", "file { '/x': ensure => file }"), &|_| false).unwrap_err();
    assert!(resources[0].message.contains("a resource of the type `file`"), "{}", resources[0]);
}

#[test]
fn a_plan_fails_with_its_own_error() {
    let environment = environment();
    let text = "plan demo::p() { fail_plan('no', 'demo/kind', {'n' => [1].size}, 'CODE') }";
    match environment.run_plan(&parse(&environment, text), &[], &mut replay()) {
        Progress::Failed(failure) => {
            assert_eq!((failure.message.as_str(), failure.kind.as_str()), ("no", "demo/kind"));
            assert_eq!(
                (failure.details.get_text("n"), failure.issue_code.as_deref()),
                (Some(&Value::Integer(1)), Some("CODE"))
            );
            assert!(failure.to_string().contains("roll.pp:1:18"), "{failure}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_have_their_attributes() {
    let result = |name: &str, error: Value| {
        let target = Value::object("Target", [("name", name.into())]);
        let value = Value::hash([("_output".into(), "hello".into()), ("n".into(), Value::Integer(1))]);
        Value::object("Result", [("target", target), ("value", value), ("error", error)])
    };
    let failed = Failure::new("demo/failed", "it failed").to_value();
    let set = Value::object("ResultSet", [("results", Value::array([result("a", Value::Undef), result("b", failed)]))]);
    let text = "[$r.ok, $r.ok_set.names, $r.error_set.names, $r.first.message, $r[0]['n'], $r.find('b').error.message, \
                $r.count, $r.map |$x| { $x.status }, $r.filter_set |$x| { $x.ok }.count, \"${r.first.target}\", \
                $r =~ ResultSet, $r[1].error =~ Error['demo/failed'], $r.first.target =~ TargetSpec]";
    let environment = environment();
    let program = environment.parse(&Source::new("r.pp", text), &|_| false).unwrap();
    let found = environment.run(&program, &[("r".to_owned(), set)], &mut replay());
    let names = |name: &str| Value::array([Value::from(name)]);
    let statuses = Value::array([Value::from("success"), Value::from("failure")]);
    let expected = [
        Value::Boolean(false),
        names("a"),
        names("b"),
        "hello".into(),
        Value::Integer(1),
        "it failed".into(),
        Value::Integer(2),
        statuses,
        Value::Integer(1),
        "a".into(),
        Value::Boolean(true),
        Value::Boolean(true),
        Value::Boolean(true),
    ];
    assert_eq!(found, Progress::Finished(Value::array(expected)));
}

#[test]
fn errors_show_the_place() {
    let error = evaluate("$x = [1, 2]\n$y = $x +\n  $unknown\n").unwrap_err();
    assert_eq!(
        error,
        "the variable `$unknown` is not known here; give it a value before this\n --> test.pp:3:3\n  |\n3 |   $unknown\n  |   ^"
    );
    for (text, expected) in [
        ("[1, 2", "expected `]` to close what begins here, found the end"),
        ("if true { 1 ", "expected `}` to close what begins here, found the end"),
        ("$x = ", "expected a value, found the end"),
        ("\"a ${1 + }\"", "expected a value"),
        ("demo::twice('x')", "parameter 'x' expects an Integer value, got String\n --> demo::twice.pp:1:30"),
        ("demo::wrong()", "does not define `demo::wrong`"),
        ("demo::broken()", "demo::broken.pp:1:28"),
        ("70000 =~ Demo::Port ? { false => assert_type(Demo::Port, 70000) }", "expects an Integer[1, 65535] value"),
    ] {
        let error = evaluate(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn every_limit_ends_an_evaluation() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let long = vec!["1"; 300].join(" + ");
    let chain = format!("[1]{}", "[0]".repeat(300));
    for (text, expected) in [
        ("function f($x) { f($x) } f(1)", "evaluated within more than"),
        ("Integer[1, 1000000].each |$i| { Integer[1, 1000000].each |$j| { 1 } }", "steps"),
        ("Integer[1, 100000].reduce('x') |$m, $i| { \"${m}${m}\" }", "bytes together"),
        ("Integer[1, 100000].reduce([]) |$m, $i| { $m + $m + [1] }", "bytes together"),
        ("Integer[1, 1000].reduce([]) |$m, $i| { [$m] }", "nested more than"),
        ("Integer[1, 1000].reduce({}) |$m, $i| { {'a' => $m} }", "nested more than"),
        ("Integer[1, 1000].reduce(Integer) |$m, $i| { Array[$m] }", "deep"),
        ("Integer[0, 9000000000000000000]", ""),
        ("Integer[0, 9000000000000000000].map |$x| { 1 }", "elements at most"),
        ("[1].slice(9223372036854775807) |$a, $b| { $b }", ""),
        ("sprintf('%99999999s', 1)", "wide at most"),
        (deep.as_str(), "nested"),
        (long.as_str(), "goes on"),
        (chain.as_str(), "goes on"),
    ] {
        match evaluate(text) {
            Err(error) => assert!(error.contains(expected), "{}: {error}", &text[..text.len().min(60)]),
            Ok(_) => assert_eq!(expected, "", "{text}"),
        }
    }
}

/// A host that answers at once needs no replay.
struct Now;

impl Host for Now {
    fn offers(&self, function: &str) -> bool {
        function == "run_task"
    }

    fn call(&mut self, call: HostCall) -> Answer {
        Answer::Value(Value::from(call.arguments.len()))
    }
}

#[test]
fn a_host_may_answer_at_once() {
    let environment = environment();
    let program = parse(&environment, "plan demo::p() { run_task('a', 'b').then |$n| { $n + 1 } }");
    assert_eq!(environment.run_plan(&program, &[], &mut Now), Progress::Finished(Value::Integer(3)));
}
