//! What the bodies of schedules may say, and the errors that name the key.

use super::*;

fn job(change: impl FnOnce(&mut Value)) -> Value {
    let mut job = json!({
        "type": "task", "environment": "production", "description": "nightly", "userdata": {"t": 1},
        "input": {"name": "facter", "parameters": {"fact": {"value": "os"}}, "scope": {"nodes": ["a"]}},
        "schedule": {"start_time": "2026-03-02T02:00:00+01:00", "interval": {"units": "seconds", "value": 86400}},
    });
    change(&mut job);
    job
}

/// A request of which something is different.
type Altered = fn(&mut Value);

fn parse(change: impl FnOnce(&mut Value)) -> Result<ScheduleSpec, String> {
    environment_job(job(change).to_string().as_bytes()).map_err(|problem| problem.message().to_owned())
}

const START: WallTime = WallTime::from_millis(1_772_413_200_000);

#[test]
fn times_are_instants_whatever_their_offset() {
    for same in ["2026-03-02T01:00:00Z", "2026-03-02T02:00:00+01:00", "2026-03-01T21:30:00.750-03:30"] {
        let spec = parse(|job| job["schedule"]["start_time"] = json!(same)).unwrap();
        assert_eq!(spec.timing, Timing { start: START, repeat: Repeat::Every(86_400) }, "{same}");
    }
    for bad in ["2026-03-02T01:00:00", "2026-03-02", "tomorrow", ""] {
        let message = parse(|job| job["schedule"]["start_time"] = json!(bad)).unwrap_err();
        assert!(message.starts_with("schedule.start_time must be a time with its offset"), "{message}");
    }
}

#[test]
fn days_of_a_calendar() {
    let calendar =
        |calendar: Value| parse(|job| job["schedule"] = json!({"calendar": calendar})).map(|spec| spec.timing);
    let zurich = |days: &[Day]| {
        let (zone, days) = ("Europe/Zurich".to_owned(), days.to_vec());
        Repeat::Calendar(Calendar { zone, hour: 2, minute: 30, days })
    };
    let timing = calendar(json!({"zone": "Europe/Zurich", "at": "02:30", "days": ["sun", "mon", "sun"]})).unwrap();
    assert_eq!(timing.repeat, zurich(&[Day::Monday, Day::Sunday]));
    assert!(timing.start > START, "from now on");
    assert_eq!(calendar(json!({"zone": "Europe/Zurich", "at": "02:30"})).unwrap().repeat, zurich(Day::ALL));
    let cases = [
        (json!({"at": "02:30"}), "The required key calendar.zone is missing."),
        (json!({"zone": "UTC"}), "The required key calendar.at is missing."),
        (json!({"zone": "UTC", "at": "2:30"}), "calendar.at must be a time of day"),
        (json!({"zone": "UTC", "at": "02:30", "days": []}), "calendar.days must name a day"),
        (
            json!({"zone": "UTC", "at": "02:30", "days": ["monday"]}),
            "calendar.days has \"monday\"; the days are mon, tue",
        ),
    ];
    for (given, expected) in cases {
        let message = calendar(given).unwrap_err();
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn errors_name_the_key() {
    let cases: [(Altered, &str); 15] = [
        (|job| job["type"] = json!(null), "The required key type is missing."),
        (|job| job["type"] = json!("app"), "type must be deploy, task or plan, not \"app\"."),
        (|job| job["type"] = json!("plan"), "This server does not run plans yet"),
        (|job| job["input"] = json!(null), "The required key input is missing."),
        (|job| job["environment"] = json!(null), "The required key environment is missing."),
        (|job| job["environment"] = json!(""), "environment must not be empty"),
        (|job| job["schedule"] = json!(null), "The required key schedule is missing."),
        (|job| job["schedule"] = json!({}), "The required key schedule.start_time is missing."),
        (|job| job["schedule"]["interval"]["units"] = json!("hours"), "interval.units must be seconds, not \"hours\"."),
        (
            |job| job["schedule"]["interval"]["value"] = json!(59),
            "interval.value must be an integer of seconds from 60 to",
        ),
        (
            |job| job["schedule"]["calendar"] = json!({"zone": "UTC", "at": "01:00"}),
            "schedule has interval and calendar",
        ),
        (|job| job["input"]["name"] = json!(null), "The required key input.name is missing."),
        (|job| job["input"]["parameters"] = json!({"x": 1}), "The parameter x must be given as {\"value\": ...}"),
        (|job| job["input"]["transport"] = json!("ssh"), "transport must be pxp, not \"ssh\""),
        (|job| job["input"]["scope"] = json!(null), "The required key scope is missing."),
    ];
    for (change, expected) in cases {
        let message = parse(change).unwrap_err();
        assert!(message.starts_with(expected), "{message}");
    }
    let typed =
        |kind: &str, value: Value| parse(|job| job["input"]["parameters"]["n"] = json!({"value": value, "type": kind}));
    assert!(typed("query", json!("nodes {}")).is_ok() && typed("node_group", json!("id")).is_ok());
    assert!(
        typed("query", json!(1)).is_err() && typed("node_group", json!([])).is_err() && typed("x", json!(1)).is_err()
    );
}

#[test]
fn a_puppet_run_has_its_flags() {
    let spec = parse(|job| {
        job["type"] = json!("deploy");
        job["environment"] = json!("");
        job["input"] = json!({"scope": {"nodes": ["a"]}, "enforce_environment": false, "noop": true, "tags": "x"});
    })
    .unwrap();
    let ScheduledWork::Deploy(options) = &spec.work else { panic!("{spec:?}") };
    assert_eq!(
        (options.tags.as_deref(), spec.terms.noop, spec.terms.description.as_str()),
        (Some("x"), true, "nightly")
    );
}

#[test]
fn the_older_commands() {
    let body = |extra: Value| {
        let mut body = json!({"environment": "production", "scope": {"nodes": ["a"]}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body.to_string().into_bytes()
    };
    let time = "2026-03-02T01:00:00Z";
    let options = json!({"interval": {"units": "seconds", "value": 60}});
    let deploy = schedule_deploy(&body(json!({"scheduled_time": time, "schedule_options": options}))).unwrap();
    assert_eq!(deploy.timing, Timing { start: START, repeat: Repeat::Every(60) });
    let task = body(json!({"scheduled_time": time, "task": "facter", "params": {"fact": "os"}}));
    let task = schedule_task(&task).unwrap();
    let ScheduledWork::Task(work) = &task.work else { panic!("{task:?}") };
    assert_eq!((&work.params["fact"], task.timing.repeat), (&json!({"value": "os"}), Repeat::Once));
    let message = schedule_deploy(&body(json!({}))).unwrap_err().message().to_owned();
    assert_eq!(message, "The required key scheduled_time is missing.");
}
