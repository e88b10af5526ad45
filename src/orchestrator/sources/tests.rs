//! Code directories of all shapes, on disk.

use std::io::Read;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

struct Tree {
    dir: TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap() };
        tree.write("environments/production/manifests/site.pp", "");
        tree
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn demo(&self, path: &str, text: &str) -> &Self {
        self.write(&format!("environments/production/modules/demo/{path}"), text)
    }

    fn code_dir(&self) -> CodeDir {
        CodeDir::with_base_module_path(self.dir.path(), vec![self.dir.path().join("modules")])
    }

    fn task(&self, name: &str) -> Result<TaskDetail, Refusal> {
        let code_dir = self.code_dir();
        code_dir.task(&code_dir.environment("production").unwrap(), "demo", name).map(|(detail, _)| detail)
    }

    fn names(&self) -> Vec<String> {
        let code_dir = self.code_dir();
        code_dir.tasks(&code_dir.environment("production").unwrap()).into_iter().map(|task| task.name).collect()
    }

    fn content(&self, mount_path: &str) -> Result<Option<String>, RefusalKind> {
        let code_dir = self.code_dir();
        let file = code_dir.code_file(&code_dir.environment("production").unwrap(), mount_path);
        file.map_err(|refusal| refusal.kind).map(|file| {
            file.map(|mut found| {
                let mut text = String::new();
                found.file.read_to_string(&mut text).unwrap();
                assert_eq!(found.length, text.len() as u64);
                text
            })
        })
    }
}

#[test]
fn nothing_in_the_code_directory_holds_up_a_thread_or_leads_out_of_its_module() {
    let tree = Tree::new();
    let demo = tree.dir.path().join("environments/production/modules/demo");
    let fifo = |path: &Path| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    };
    fifo(&tree.dir.path().join("environments/production/environment.conf"));
    fifo(&demo.join("types/pipe.pp"));
    fifo(&demo.join("files/pipe"));
    tree.write("secret", "type Demo::Out = hunter2").write("secret.json", "{\"description\": \"hunter2\"}");
    let out = |name: &str, to: &str| symlink(tree.dir.path().join(name), demo.join(to)).unwrap();
    out("secret", "types/out.pp");
    fs::create_dir_all(demo.join("tasks")).unwrap();
    out("secret", "tasks/out.sh");
    tree.demo("tasks/plain.sh", "");
    out("secret.json", "tasks/plain.json");
    let code_dir = tree.code_dir();
    let environment = code_dir.environment("production").unwrap();
    assert_eq!(code_dir.type_alias(&environment, "Demo::Pipe"), None);
    assert_eq!(code_dir.type_alias(&environment, "Demo::Out"), None);
    assert_eq!(tree.content("modules/demo/pipe"), Ok(None));
    assert_eq!(tree.names(), ["demo::plain"]);
    assert_eq!(tree.task("plain").unwrap().metadata, Map::new());
    assert_eq!(tree.task("out").unwrap_err().kind, RefusalKind::UnknownTask);
}

#[test]
fn links_that_multiply_directories_end_in_an_error() {
    let tree = Tree::new();
    tree.demo("tasks/init.sh", "").demo("tasks/init.json", "{\"files\": [\"demo/files/d/\"]}");
    let files = tree.dir.path().join("environments/production/modules/demo/files");
    let level = |number: usize| if number == 0 { files.join("d") } else { files.join(number.to_string()) };
    for number in 0..20 {
        fs::create_dir_all(level(number)).unwrap();
        symlink(level(number + 1), level(number).join("a")).unwrap();
        symlink(level(number + 1), level(number).join("b")).unwrap();
    }
    fs::create_dir_all(level(20)).unwrap();
    assert!(tree.task("init").unwrap_err().message.contains("one too many"));
}

#[test]
fn lists_tasks_and_leaves_broken_ones_out() {
    let tree = Tree::new();
    tree.demo("tasks/init.sh", "#!/bin/sh").demo("tasks/hello.rb", "").demo("tasks/hello.json", r#"{"private": true}"#);
    tree.demo("tasks/README.md", "").demo("tasks/hello.conf", "").demo("tasks/Bad.sh", "").demo("tasks/no-dash.sh", "");
    tree.demo("tasks/bad_json.sh", "").demo("tasks/bad_json.json", "{").demo("tasks/sub/deep.sh", "");
    tree.demo("tasks/alone.json", "{}").demo("tasks/two.sh", "").demo("tasks/two.rb", "");
    tree.demo("tasks/lost.sh", "").demo("tasks/lost.json", r#"{"files": ["demo/files/nosuch"]}"#);
    tree.write("modules/base/tasks/init.sh", "").write("environments/production/modules/base/tasks/mine.sh", "");
    assert_eq!(tree.names(), ["base::mine", "demo", "demo::hello"]);
    for (name, kind) in [
        ("bad_json", "puppet.tasks/unparseable-metadata"),
        ("alone", "puppet.tasks/no-implementation"),
        ("two", "puppet.tasks/multiple-implementations"),
        ("lost", "puppet.tasks/invalid-file"),
    ] {
        let refusal = tree.task(name).unwrap_err();
        assert_eq!((refusal.kind, &refusal.details["kind"]), (RefusalKind::ValidationError, &kind.into()), "{refusal}");
    }
    assert_eq!(tree.task("nosuch").unwrap_err().kind, RefusalKind::UnknownTask);
}

#[test]
fn hashes_files_and_notices_edits() {
    let tree = Tree::new();
    tree.demo("tasks/hello.sh", "abc");
    let file = tree.task("hello").unwrap().files.remove(0);
    assert_eq!(file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((file.filename.as_str(), file.size_bytes), ("hello.sh", Some(3)));
    assert_eq!(file.uri.path, "/puppet/v3/file_content/tasks/demo/hello.sh");
    assert_eq!(file.uri.params["environment"], "production");
    tree.demo("tasks/hello.sh", "abcd");
    assert_eq!(tree.task("hello").unwrap().files[0].size_bytes, Some(4));
}

#[test]
fn expands_extra_files_by_mount() {
    let tree = Tree::new();
    tree.demo("tasks/multi.sh", "").demo("files/static.txt", "s").demo("lib/puppet_x/helper.rb", "h");
    tree.demo("scripts/run.sh", "r").demo("tasks/other.sh", "o").demo("lib/a.rb", "a");
    tree.demo(
        "tasks/multi.json",
        r#"{"files": ["demo/files/static.txt", "demo/lib/", "demo/scripts/run.sh", "demo/tasks/other.sh"]}"#,
    );
    let files = tree.task("multi").unwrap().files;
    let pairs: Vec<_> = files.iter().map(|file| (file.filename.as_str(), file.uri.path.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("multi.sh", "/puppet/v3/file_content/tasks/demo/multi.sh"),
            ("demo/files/static.txt", "/puppet/v3/file_content/modules/demo/static.txt"),
            ("demo/lib/a.rb", "/puppet/v3/file_content/plugins/a.rb"),
            ("demo/lib/puppet_x/helper.rb", "/puppet/v3/file_content/plugins/puppet_x/helper.rb"),
            ("demo/scripts/run.sh", "/puppet/v3/file_content/scripts/demo/run.sh"),
            ("demo/tasks/other.sh", "/puppet/v3/file_content/tasks/demo/other.sh"),
        ]
    );
    for (uri, content) in
        [("modules/demo/static.txt", "s"), ("plugins/puppet_x/helper.rb", "h"), ("scripts/demo/run.sh", "r")]
    {
        assert_eq!(tree.content(uri).unwrap().as_deref(), Some(content));
    }
}

#[test]
fn refuses_extra_files_that_make_no_sense() {
    let cases = [
        "demo/files/dir",
        "demo/files/f/",
        "demo/manifests/init.pp",
        "demo/files/../tasks/x.sh",
        "nosuch/files/f",
        "demo",
        "/etc/passwd",
        "demo/files/out",
    ];
    for entry in cases {
        let tree = Tree::new();
        tree.demo("tasks/x.sh", "").demo("files/dir/a", "").demo("files/f", "").demo("manifests/init.pp", "");
        symlink("/etc/hostname", tree.dir.path().join("environments/production/modules/demo/files/out")).unwrap();
        tree.demo("tasks/x.json", &serde_json::json!({"files": [entry]}).to_string());
        assert_eq!(tree.task("x").unwrap_err().details["kind"], "puppet.tasks/invalid-file", "{entry}");
    }
}

#[test]
fn implementations_come_first_and_must_exist() {
    let tree = Tree::new();
    tree.demo("tasks/x_linux.sh", "").demo("tasks/x_windows.ps1", "").demo("files/a", "");
    let implementations = r#"{"implementations": [{"name": "x_linux.sh", "requirements": ["shell"], "files": ["demo/files/a"]},
        {"name": "x_windows.ps1", "requirements": ["powershell"], "remote": false}]}"#;
    tree.demo("tasks/x.json", implementations);
    let names: Vec<_> = tree.task("x").unwrap().files.into_iter().map(|file| file.filename).collect();
    assert_eq!(names, ["x_linux.sh", "x_windows.ps1", "demo/files/a"]);
    tree.demo("tasks/x.json", r#"{"implementations": [{"name": "nosuch.sh"}]}"#);
    assert_eq!(tree.task("x").unwrap_err().details["kind"], "puppet.tasks/missing-implementation");
}

#[test]
fn environments_have_names_and_paths() {
    let tree = Tree::new();
    let conf = "# modulepath = nowhere\nmodulepath = site:$codedir/shared:$basemodulepath # ours first\n";
    tree.write("environments/production/environment.conf", conf);
    tree.write("environments/production/site/a/tasks/init.sh", "").write("shared/b/tasks/init.sh", "");
    tree.write("shared/a/tasks/other.sh", "").write("modules/c/tasks/init.sh", "").demo("tasks/init.sh", "");
    assert_eq!(tree.names(), ["a", "b", "c"]);
    let kind = |name: &str| tree.code_dir().environment(name).unwrap_err().kind;
    assert_eq!(kind("qa_typo"), RefusalKind::UnknownEnvironment);
    for name in ["", "..", "a-b", "a/b"] {
        assert_eq!(kind(name), RefusalKind::ValidationError, "{name}");
    }
}

#[test]
fn files_do_not_leave_their_module() {
    let tree = Tree::new();
    tree.demo("files/a", "a").demo("tasks/x.sh", "x").write("secret", "s");
    let module = tree.dir.path().join("environments/production/modules/demo");
    symlink(tree.dir.path().join("secret"), module.join("files/out")).unwrap();
    symlink("a", module.join("files/in")).unwrap();
    assert_eq!(tree.content("tasks/demo/x.sh"), Ok(Some("x".into())));
    assert_eq!(tree.content("modules/demo/in"), Ok(Some("a".into())));
    for missing in ["tasks/demo/nosuch", "tasks/nosuch/x", "modules/demo", "facts/demo/x", "plugins/x", "tasks"] {
        assert_eq!(tree.content(missing), Ok(None), "{missing}");
    }
    for illegal in ["modules/demo/out", "modules/demo/../a", "modules/demo//a", "/etc/passwd", "modules/demo/./a", ""] {
        assert_eq!(tree.content(illegal), Err(RefusalKind::ValidationError), "{illegal}");
    }
}

#[test]
fn modules_may_be_links_and_define_types() {
    let tree = Tree::new();
    tree.write("packages/lib-1.0/tasks/init.sh", "l")
        .write("packages/lib-1.0/types/net/port.pp", "type Lib::Net::Port = Integer");
    fs::create_dir_all(tree.dir.path().join("modules")).unwrap();
    symlink(tree.dir.path().join("packages/lib-1.0"), tree.dir.path().join("modules/lib")).unwrap();
    assert_eq!(tree.content("tasks/lib/init.sh"), Ok(Some("l".into())));
    let code_dir = tree.code_dir();
    let environment = code_dir.environment("production").unwrap();
    assert!(code_dir.type_alias(&environment, "Lib::Net::Port").unwrap().starts_with("type"));
    for missing in ["Lib", "Lib::..::Port", "Lib::Port", "Other::Port", ""] {
        assert_eq!(code_dir.type_alias(&environment, missing), None, "{missing}");
    }
}

#[test]
fn environments_have_the_settings_of_their_files() {
    let tree = Tree::new();
    tree.write("environments/no-name/x", "").write("environments/file", "");
    let conf = "modulepath = site:$basemodulepath\nenvironment_timeout = 5\nenvironment_timeout = unlimited # for ever\n\
                manifest = site.pp\nconfig_version = \"bin/version\"\n";
    tree.write("environments/staging/environment.conf", conf);
    let (code_dir, root) = (tree.code_dir(), tree.dir.path().display());
    let listings = code_dir.environments();
    assert_eq!(listings.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["production", "staging"]);
    let at = |path: &str| format!("{root}/{path}");
    assert_eq!(
        json!(listings[0].settings),
        json!({"modulepath": [at("environments/production/modules"), at("modules")],
               "manifest": at("environments/production/manifests"), "environment_timeout": 0, "config_version": ""})
    );
    assert_eq!(
        json!(listings[1].settings),
        json!({"modulepath": [at("environments/staging/site"), at("modules")],
               "manifest": at("environments/staging/site.pp"), "environment_timeout": "unlimited",
               "config_version": "bin/version"})
    );
    assert_eq!(code_dir.listing("nosuch").unwrap_err().kind, RefusalKind::UnknownEnvironment);
    assert_eq!(code_dir.listing("../x").unwrap_err().kind, RefusalKind::ValidationError);
}
