//! Plans of code directories on disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::orchestrator::sources::code_dir::CodeDir;

struct Tree {
    dir: TempDir,
    code_dir: CodeDir,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let code_dir = CodeDir::with_base_module_path(dir.path(), vec![dir.path().join("modules")]);
        fs::create_dir_all(dir.path().join("environments/production")).unwrap();
        let tree = Self { dir, code_dir };
        files.iter().for_each(|(path, text)| tree.write(path, text));
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("environments/production/modules").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn list(&self) -> Vec<PlanListing> {
        list(&self.code_dir.environment("production").unwrap(), self.code_dir.outlines())
    }

    fn names(&self) -> Vec<String> {
        self.list().into_iter().map(|plan| plan.name).collect()
    }

    fn show(&self, module: &str, name: &str) -> Result<PlanShown, Refusal> {
        show(&self.code_dir.environment("production").unwrap(), module, name, self.code_dir.outlines())
    }
}

#[test]
fn names_are_paths() {
    let tree = Tree::new(&[
        ("a/plans/init.pp", "plan a {}"),
        ("a/plans/one.pp", "plan a::one {}"),
        ("a/plans/deep/er/two.pp", "plan a::deep::er::two {}"),
        ("a/plans/deep/init.pp", "plan a::deep::init {}"),
        ("a/plans/No.pp", "plan a::no {}"),
        ("a/plans/README.md", ""),
        ("a/plans/x.yml", "steps: []"),
        ("a/plans/no-dash/x.pp", ""),
        ("b/manifests/init.pp", ""),
        ("b/secret.pp", "plan c::out {}"),
    ]);
    fs::create_dir_all(tree.path("c/plans")).unwrap();
    symlink(tree.path("b/secret.pp"), tree.path("c/plans/out.pp")).unwrap();
    symlink(tree.path("c/plans"), tree.path("c/plans/round")).unwrap();
    let names = ["a", "a::deep::er::two", "a::deep::init", "a::one"];
    assert_eq!(tree.names(), names);
    assert!(tree.list().iter().all(|plan| plan.problem.is_none()));
    for name in names {
        let (module, plan) = name.split_once("::").unwrap_or((name, "init"));
        assert_eq!(tree.show(module, plan).unwrap().name, name);
    }
    for (module, plan) in [("a", "two"), ("b", "init"), ("c", "out"), ("nosuch", "init"), ("a", "../x"), ("..", "a")] {
        assert_eq!(tree.show(module, plan).unwrap_err().kind, RefusalKind::UnknownPlan, "{module} {plan}");
    }
}

#[test]
fn parameters_have_types_defaults_and_descriptions() {
    let text = "# Licence\n\n# @summary Rolls out a version\n# @param targets\n#   Where\n# @api private\nplan deploy::canary(\n  \
                TargetSpec $targets,\n  Optional[String[1]] $version = 'la' + 'test',\n  $rest = undef,\n) {\n  \
                run_task('package', $targets)\n  deploy::helper(1)\n}\n";
    let tree = Tree::new(&[
        ("deploy/plans/canary.pp", text),
        ("deploy/functions/helper.pp", "function deploy::helper($x) { $x }"),
    ]);
    let listed = tree.list().remove(0);
    assert_eq!((listed.private, listed.description.as_str()), (true, "Rolls out a version"));
    let shown = tree.show("deploy", "canary").unwrap();
    let expected = json!({
        "description": "Rolls out a version",
        "private": true,
        "parameters": {
            "targets": {"type": "TargetSpec", "description": "Where"},
            "version": {"type": "Optional[String[1]]", "default_value": "'la' + 'test'"},
            "rest": {"type": "Any", "default_value": "undef"},
        },
    });
    assert_eq!((Value::Object(shown.metadata), shown.problems), (expected, vec![]));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let tree = Tree::new(&[
        ("a/plans/bad.pp", "plan a::bad() {\n  $x = \n}"),
        ("a/plans/other.pp", "plan a::elsewhere {}"),
        ("a/plans/none.pp", "$x = 1"),
        ("a/plans/missing.pp", "plan a::missing() {\n  run_command('x', 'y')\n  prompt('Sure?')\n  nosuch::f()\n}"),
        ("a/plans/good.pp", "plan a::good {}"),
    ]);
    fs::write(tree.path("a/plans/bytes.pp"), b"\xff").unwrap();
    let problems: Vec<_> = tree.list().into_iter().map(|plan| (plan.name, plan.problem.unwrap_or_default())).collect();
    let expected = [
        ("a::bad", "a/plans/bad.pp:3:1: expected "),
        ("a::bytes", "a/plans/bytes.pp:1:1: the file cannot be read as UTF-8 text"),
        ("a::good", ""),
        ("a::missing", ""),
        ("a::none", "a/plans/none.pp:1:1: expected the plan `a::none`, found none"),
        ("a::other", "a/plans/other.pp:1:1: this defines the plan `a::elsewhere`, but its path promises `a::other`"),
    ];
    assert_eq!(problems.len(), expected.len());
    for ((name, problem), (expected_name, expected)) in problems.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(problem.starts_with(expected) && problem.is_empty() == expected.is_empty(), "{problem}");
    }
    let refusal = tree.show("a", "bad").unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::ValidationError);
    let place = (&refusal.details["file"], &refusal.details["line"], &refusal.details["column"]);
    assert_eq!(place, (&json!("a/plans/bad.pp"), &json!(3), &json!(1)));
    let missing = tree.show("a", "missing").unwrap().problems;
    let places: Vec<_> = missing.iter().map(|one| (one["line"].clone(), one["column"].clone())).collect();
    assert_eq!(places, [(json!(3), json!(3)), (json!(4), json!(3))], "{missing:?}");
}

#[test]
fn edits_count_at_once() {
    let tree = Tree::new(&[("a/plans/init.pp", "plan a($x) {}")]);
    let parameters = || tree.show("a", "init").unwrap().metadata["parameters"].clone();
    assert_eq!(parameters(), json!({"x": {"type": "Any"}}));
    assert_eq!(parameters(), json!({"x": {"type": "Any"}}));
    tree.write("a/plans/init.pp", "plan a(Integer $y) {}");
    assert_eq!(parameters(), json!({"y": {"type": "Integer"}}));
    fs::remove_file(tree.path("a/plans/init.pp")).unwrap();
    assert_eq!(tree.names(), Vec::<String>::new());
}

#[test]
fn plans_in_yaml_are_plans() {
    let tree = Tree::new(&[
        ("a/plans/both.pp", "plan a::both {}"),
        ("a/plans/both.yaml", "steps: 1"),
        ("a/plans/bad.yaml", "steps:\n- task: x"),
        (
            "a/plans/good.yaml",
            "description: Does it\nparameters:\n  n: {type: Integer, default: 1}\nsteps:\n- eval: |\n    nosuch()\n",
        ),
    ]);
    let problems: Vec<_> = tree.list().into_iter().map(|plan| (plan.name, plan.problem)).collect();
    let needs = "a/plans/bad.yaml:2:3: step 1: a `task` step needs `targets`".to_owned();
    let expected = [("a::bad".to_owned(), Some(needs)), ("a::both".to_owned(), None), ("a::good".to_owned(), None)];
    assert_eq!(problems, expected);
    let good = tree.show("a", "good").unwrap();
    let expected = json!({"description": "Does it", "parameters": {"n": {"type": "Integer", "default_value": 1}}});
    assert_eq!(Value::Object(good.metadata), expected);
    assert_eq!((&good.problems[0]["line"], &good.problems[0]["column"]), (&json!(6), &json!(5)), "{:?}", good.problems);
}
