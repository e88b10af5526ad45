//! The words for `puppet agent` that a request may hold (pxp-agent, modules/pxp-module-puppet). PURE.

/// Always given, unless the request gives them itself.
const ALWAYS: [&str; 3] = ["--onetime", "--no-daemonize", "--verbose"];

/// What may follow `--` or `--no-`.
const PERMITTED: [&str; 25] = [
    "color",
    "configtimeout",
    "debug",
    "disable_warnings",
    "environment",
    "evaltrace",
    "filetimeout",
    "graph",
    "http_connect_timeout",
    "http_debug",
    "http_keepalive_timeout",
    "http_read_timeout",
    "log_level",
    "noop",
    "ordering",
    "pluginsync",
    "show_diff",
    "skip_tags",
    "splay",
    "strict_environment_mode",
    "tags",
    "trace",
    "use_cached_catalog",
    "usecacheonfailure",
    "waitforcert",
];

/// The arguments after `puppet agent`; the error is what is wrong with a word.
pub fn arguments(flags: &[String], job: Option<&str>) -> Result<Vec<String>, String> {
    let mut arguments: Vec<String> = flags.iter().map(|flag| flag.trim().to_owned()).collect();
    for flag in &arguments {
        check(flag)?;
    }
    let missing: Vec<&str> = ALWAYS.into_iter().filter(|always| !arguments.iter().any(|flag| flag == always)).collect();
    arguments.extend(missing.into_iter().map(str::to_owned));
    if let Some(job) = job {
        arguments.extend(["--job-id".to_owned(), job.to_owned()]);
    }
    Ok(arguments)
}

fn check(flag: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_:,.-".contains(&byte);
    if flag.is_empty() || !flag.bytes().all(plain) {
        let text = "The json received on STDIN contained characters not present in valid flags";
        return Err(format!("{text}: {flag}"));
    }
    let refused = || Err(format!("The json received on STDIN included a non-permitted flag: {flag}"));
    let Some(name) = flag.strip_prefix("--") else {
        // pxp-agent lets all of these pass, and with them what its list is there to refuse: `-D` is `--daemonize`.
        return if flag.starts_with('-') { refused() } else { Ok(()) };
    };
    let name = name.strip_prefix("no-").unwrap_or(name);
    if matches!(name, "onetime" | "daemonize" | "verbose") {
        return match ALWAYS.contains(&flag) {
            true => Ok(()),
            false => Err(format!("The json received on STDIN overrides a default setting with: {flag}")),
        };
    }
    match PERMITTED.contains(&name) {
        true => Ok(()),
        false => refused(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flags: &[&str], job: Option<&str>) -> Result<String, String> {
        let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        arguments(&flags, job).map(|arguments| arguments.join(" "))
    }

    #[test]
    fn what_is_always_given_is_given_once() {
        assert_eq!(of(&[], Some("7")).unwrap(), "--onetime --no-daemonize --verbose --job-id 7");
        assert_eq!(
            of(&["--no-daemonize", " --noop ", "--environment", "prod_1"], None).unwrap(),
            "--no-daemonize --noop --environment prod_1 --onetime --verbose"
        );
    }

    #[test]
    fn words_that_could_do_harm_are_refused() {
        for flag in ["--tags=a", "a b", "/etc", "$(x)", "", "--server;"] {
            let error = of(&[flag], None).unwrap_err();
            assert!(error.starts_with("The json received on STDIN contained characters not present"), "{error}");
        }
        for flag in ["--daemonize", "--no-onetime", "--no-verbose"] {
            let expected = format!("The json received on STDIN overrides a default setting with: {flag}");
            assert_eq!(of(&[flag], None).unwrap_err(), expected);
        }
        for flag in ["--server", "--no-server", "--configprint", "--", "--confdir", "-D", "-l", "-dD", "-"] {
            let expected = format!("The json received on STDIN included a non-permitted flag: {flag}");
            assert_eq!(of(&["--noop", flag], None).unwrap_err(), expected);
        }
    }
}
