//! Plans in YAML: what they do, and what is wrong with them.

use super::YamlPlan;
use crate::puppet_lang::source::Source;
use crate::puppet_lang::{Answer, Definitions, Environment, Host, HostCall, Progress, Value};

/// Answers every call with its number, and writes it down.
#[derive(Default)]
struct Recorder {
    calls: Vec<String>,
}

impl Host for Recorder {
    fn offers(&self, _function: &str) -> bool {
        true
    }

    fn call(&mut self, call: HostCall) -> Answer {
        self.calls.push(call.fingerprint());
        Answer::Value(Value::from(format!("result {}", self.calls.len()).as_str()))
    }
}

fn read(text: &str) -> Result<YamlPlan, String> {
    YamlPlan::read("a::b", &Source::new("b.yaml", text))
        .map_err(|error| format!("{}:{}: {}", error.line, error.column, error.message))
}

fn run(text: &str, parameters: &[(&str, &str)]) -> (Vec<String>, Progress) {
    let plan = read(text).unwrap();
    let environment = Environment::new(|_: Definitions, _: &str| None);
    let problems = environment.problems(&plan.program, &|_| true);
    assert_eq!(problems, [], "{text}");
    let mut host = Recorder::default();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    let progress = environment.run_plan(&plan.program, &parameters, &mut host);
    (host.calls, progress)
}

fn returned(text: &str) -> serde_json::Value {
    match run(&format!("steps: []\nreturn:\n  {text}\n"), &[]).1 {
        Progress::Finished(value) => value.to_json(crate::puppet_lang::Secrets::Shown).unwrap(),
        other => panic!("{text}: {other:?}"),
    }
}

const EVERY_STEP: &str = "\
parameters:
  targets: {type: TargetSpec}
  version: {type: String, default: latest}
steps:
  - name: check
    task: package
    targets: $targets
    description: Looks
    parameters: {action: status, name: nginx, deep: [\"v${version}\"]}
    noop: true
  - command: systemctl restart nginx
    targets: [a, b]
    catch_errors: true
    env_vars: {A: 1}
  - script: mod/x.sh
    targets: $targets
    arguments: [$version, 'x $y']
    pwsh_params: {}
    run_as: root
  - upload: mod/file
    destination: /tmp/file
    targets: $targets
  - source: mod/older
    destination: /tmp/older
    target: a
  - download: /etc/motd
    destination: motd
    targets: $targets
  - plan: other::one
    targets: $targets
    parameters: {x: null}
    catch_errors: $check == 'x'
  - message: \"going to ${version}\"
  - verbose: 7
  - name: sum
    eval: |
      $inner = 1
      $inner + 2
  - eval: $sum
  - resources:
      - {package: nginx, parameters: {ensure: $version}}
      - {type: Foo::Service, title: \"${version}x\"}
    targets: $targets
    noop: true
return: [$check, $sum]
";

#[test]
fn every_kind_of_step_is_a_call() {
    let (calls, progress) = run(EVERY_STEP, &[("targets", "n1")]);
    let expected = [
        "run_task('package', 'n1', 'Looks', {'action' => 'status', 'name' => 'nginx', 'deep' => ['vlatest'], '_noop' => true})",
        "run_command('systemctl restart nginx', ['a', 'b'], {'_catch_errors' => true, '_env_vars' => {'A' => 1}})",
        "run_script('mod/x.sh', 'n1', {'arguments' => ['latest', 'x $y'], '_run_as' => 'root'})",
        "upload_file('mod/file', '/tmp/file', 'n1')",
        "upload_file('mod/older', '/tmp/older', 'a')",
        "download_file('/etc/motd', 'motd', 'n1')",
        "run_plan('other::one', 'n1', {'x' => undef, '_catch_errors' => false})",
        "out::message('going to latest')",
        "out::verbose(7)",
        "apply_prep('n1')",
    ];
    assert_eq!(calls[..expected.len()], expected);
    let apply = &calls[expected.len()];
    assert!(apply.starts_with("apply('n1', {'_noop' => true}, {'code' => "), "{apply}");
    for part in [
        "package { $podium_resources[0]['title']: * => $podium_resources[0]['parameters'] }",
        "-> foo::service { $podium_resources[1]['title']",
        "'latestx'",
        "'ensure' => 'latest'",
    ] {
        let apply = apply.replace("\\$", "$").replace("\\'", "'");
        assert!(apply.contains(part), "{part} in {apply}");
    }
    let expected = Value::array([Value::from("result 1"), Value::Integer(3)]);
    assert_eq!(progress, Progress::Finished(expected));
}

#[test]
fn style_says_what_is_code() {
    let cases = [
        ("'$x'", serde_json::json!("$x")),
        ("plain ${x}", serde_json::json!("plain ${x}")),
        ("\"a${1 + 1}\\n\\\"\\\\n\"", serde_json::json!("a2\n\"\\n")),
        ("\"${'a\\\"b'}\"", serde_json::json!("a\"b")),
        ("|\n    1 + 1", serde_json::json!(2)),
        ("|\n    \"a\n    b\"", serde_json::json!("a\nb")),
        (">\n    1 + 1", serde_json::json!("1 + 1\n")),
        (
            "[1, -2, 0x1f, 010, 1.5, yes, No, ~, null, 1_000, 1.2.3, 1e3, '', 2020-01-01]",
            serde_json::json!([1, -2, 31, 8, 1.5, true, false, null, null, 1000, "1.2.3", "1e3", "", "2020-01-01"]),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(returned(text), expected, "{text}");
    }
    assert_eq!(returned("$k: |-\n    [1].map |$x| { $x + 1 }"), serde_json::json!({"$k": [2]}));
}

#[test]
fn mistakes_have_their_place() {
    let cases = [
        ("", "1:1: expected a plan, found nothing"),
        ("- a", "1:1: a plan must be a map, and this is a list"),
        ("steps: []\nstep: 1", "2:1: a plan has no key `step`"),
        ("description: x", "1:1: the plan has no `steps`"),
        ("steps: {}", "1:8: `steps` must be a list, and this is a map"),
        ("steps:\n- 1", "2:3: step 1 must be a map, and this is a number"),
        ("steps:\n- name: x", "2:3: step \"x\" does nothing"),
        ("steps:\n- {task: x, command: y}", "2:3: step 1 does several things: command, task"),
        ("steps:\n- {task: x}", "2:3: step 1: a `task` step needs `targets`"),
        ("steps:\n- {message: x, noop: true}", "2:16: step 1: a `message` step has no key `noop`"),
        ("steps:\n- {task: x, targets: a, noop: true, parameters: {_noop: 1}}", "2:50: step 1: `_noop` and the key"),
        ("steps:\n- {eval: 1, name: X}", "2:19: step \"X\": its name must be"),
        (
            "parameters: {x: }\nsteps:\n- {eval: 1, name: x}",
            "3:19: step \"x\": there is a step or a parameter named `x`",
        ),
        ("steps:\n- eval: $x +", "2:13: step 1: expected a value, found the end"),
        ("steps:\n- eval: |\n    $x = 1\n    $y = = 2\n", "4:10: step 1: expected a value, found `=`"),
        ("steps:\n- message: \"ü ${1 + }\"", "2:21: step 1: expected a value"),
        ("parameters: {X: }\nsteps: []", "1:14: `X` cannot be a parameter"),
        ("parameters: {x: {typ: 1}}\nsteps: []", "1:18: the parameter `x` has no key `typ`"),
        ("parameters: {x: {type: 'Enum['}}\nsteps: []", "1:30: the type `Enum[`: "),
        ("steps: []\nprivate: maybe", "2:10: `private` must be true or false"),
        ("steps: []\nsteps: []", "2:1: the key `steps` is there twice"),
        ("a: &x 1\nsteps: *x", "2:8: aliases are not offered"),
        ("steps: !ruby/object []", "1:8: the tag `!ruby/object`"),
        ("steps: []\n---\nsteps: []", "2:1: this begins another document"),
        ("steps: [", "1:9: this is not valid YAML"),
        ("steps:\n- {resources: [{title: x}], targets: a}", "2:16: step 1: a resource with a `title` needs a `type`"),
        ("steps:\n- {resources: [{a: x, b: y}], targets: a}", "2:23: step 1: the resource's type could be `a` or `b`"),
    ];
    for (text, expected) in cases {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
    let deep = format!("steps: {}", "[".repeat(100));
    assert!(read(&deep).unwrap_err().contains("nested more than 32"), "{:?}", read(&deep));
    assert!(read(&format!("steps: {}", "[".repeat(100_000))).is_err());
}

#[test]
fn functions_that_are_not_there_have_their_place() {
    let plan = read("steps:\n- eval: |\n    1\n    nosuch::f(2)\n").unwrap();
    let environment = Environment::new(|_: Definitions, _: &str| None);
    let problems = environment.problems(&plan.program, &|_| false);
    let places: Vec<_> = problems.iter().map(|one| (one.line, one.column, one.file.as_str())).collect();
    assert_eq!(places, [(3, 5, "b.yaml"), (4, 5, "b.yaml")], "{problems:?}");
}

#[test]
fn parameters_are_described() {
    let text = "description: Rolls\nprivate: true\nparameters:\n  a:\n  b: {type: \"Array[String]\", default: [x], description: The b}\n\
                steps: []\n";
    let plan = read(text).unwrap();
    assert_eq!((plan.description.as_str(), plan.private), ("Rolls", true));
    let shown: Vec<_> = plan
        .parameters
        .iter()
        .map(|one| (one.name.as_str(), one.data_type.as_str(), one.default.clone(), one.description.as_str()))
        .collect();
    let default = serde_json::json!(["x"]);
    assert_eq!(shown, [("a", "Any", None, ""), ("b", "Array[String]", Some(default), "The b")]);
}

#[test]
fn no_text_makes_it_fall_over() {
    let pieces = [
        "steps:", "\n", "- ", "  ", "eval: ", "$x", "|", "\"${", "}", "[", "{", ": ", "'", "&a ", "*a", "ü", "\t", "#",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[usize::try_from(seed >> 33).unwrap() % pieces.len()]);
        }
        let _ = read(&text);
    }
}
