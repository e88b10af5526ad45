//! The results as one HTML page that needs nothing else: what was measured, the verdict, charts, tables and the command
//! that repeats it. For screens in light and dark, and for paper.

use std::fmt::Write;

use super::chart::{Lines, bars, escape, number};
use super::ledger::Times;
use super::plan::Scenario;
use super::recorder::Sample;
use super::results::{Results, StepResult};

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5c6878;--paper:#fff;--card:#f4f6f9;--line:#d8dee6;--good:#167a3e;
--bad:#b3261e;--s0:#2563c9;--s1:#c2571a;--s2:#16836b;--s3:#8a3fb0;--s4:#a8820b;--s5:#4b5563}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#98a4b5;--paper:#12161c;--card:#1b212a;--line:#323b48;
--good:#4cc38a;--bad:#ff8a80;--s0:#6ea8ff;--s1:#ff9f5a;--s2:#4fd1b0;--s3:#d394f5;--s4:#e5c04b;--s5:#aab4c3}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p.sub{color:var(--soft);margin-top:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1.2rem 0}
.tile{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}.tile b{display:block;font-size:1.35rem}
.tile span{color:var(--soft);font-size:.85rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}
th,td{text-align:right;padding:.3rem .5rem;border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:600}
th:first-child,td:first-child,table.text td,table.text th{text-align:left}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
pre{background:var(--card);padding:.8rem;border-radius:.5rem;white-space:pre-wrap;overflow-wrap:anywhere}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg text.end{text-anchor:end}
svg text.middle{text-anchor:middle}svg .grid{stroke:var(--line);fill:none}svg path.mark{stroke:var(--soft);stroke-dasharray:2 3}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round}svg .bar{fill:var(--s0)}
.c0{stroke:var(--s0)}.c1{stroke:var(--s1)}.c2{stroke:var(--s2)}.c3{stroke:var(--s3)}.c4{stroke:var(--s4)}.c5{stroke:var(--s5)}
.legend span{margin-right:1rem;font-size:.85rem}.legend span::before{content:'';display:inline-block;width:1em;height:.25em;
margin-right:.4em;vertical-align:middle;background:currentColor}
.k0{color:var(--s0)}.k1{color:var(--s1)}.k2{color:var(--s2)}.k3{color:var(--s3)}.k4{color:var(--s4)}.k5{color:var(--s5)}
@media print{:root{color-scheme:light}body{max-width:none;margin:0}h2,svg,table{break-inside:avoid}}
";

/// The page.
pub fn render(results: &Results) -> String {
    let mut page = String::new();
    let title = format!("{}: {} agents", what(results.plan.scenario), results.plan.connections);
    let _ = writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{0}</title>\n\
         <style>{STYLE}</style></head><body>\n<h1>{0}</h1>",
        escape(&title)
    );
    let verdict = if results.passed { ("good", "all checks passed") } else { ("bad", "not all checks passed") };
    let _ = writeln!(
        page,
        "<p class=\"sub\">wss://{}:{} on {}, measured by podium {}: <span class=\"{}\">{}</span></p>",
        escape(&results.plan.host),
        results.plan.port,
        escape(&results.begun),
        escape(&results.podium),
        verdict.0,
        verdict.1
    );
    tiles(&mut page, results);
    section(&mut page, "Verdict", &checks(results));
    charts(&mut page, results);
    section(&mut page, "Step by step", &steps(&results.steps));
    section(&mut page, "Times in milliseconds", &latencies(&results.steps));
    section(&mut page, "The broker's processes", &processes(&results.steps));
    section(&mut page, "Attempts to connect that failed", &failures(results));
    section(&mut page, "What was measured, and on what", &parameters(results));
    section(&mut page, "The same again", &format!("<pre>{}</pre>\n", escape(&results.command)));
    page + "</body></html>\n"
}

fn what(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Idle => "Idle connections",
        Scenario::Request => "Requests and responses",
        Scenario::Fanout => "One request to all",
        Scenario::Storm => "Reconnect storm",
        Scenario::Churn => "Agents that come and go",
        Scenario::Slow => "Agents that do not read",
        Scenario::Mixed => "A day in short",
    }
}

/// A part of the page, if there is anything in it.
fn section(page: &mut String, title: &str, content: &str) {
    if !content.is_empty() {
        let _ = writeln!(page, "<h2>{}</h2>\n{content}", escape(title));
    }
}

/// The figures that are asked for first.
fn tiles(page: &mut String, results: &Results) {
    let mut tiles: Vec<(String, &str)> = vec![(results.plan.connections.to_string(), "agents")];
    let times = &results.histograms;
    for (times, name) in [(&times.answer, "request to result, p99"), (&times.connect, "connect, p99")] {
        if times.count() > 0 {
            tiles.push((format!("{} ms", number(times.percentile(99.0))), name));
        }
    }
    if let Some(storm) = results.steps.iter().find(|step| step.name == "storm") {
        tiles.push((format!("{:.1} s", storm.seconds), "until all were back"));
    }
    if let Some(longest) = results.steps.iter().flat_map(|step| step.rounds.iter().copied()).reduce(f64::max) {
        tiles.push((format!("{} ms", number(longest)), "until the last of all had answered"));
    }
    let peak = results.samples.iter().map(|sample| sample.looks.iter().map(|look| look.resident).sum::<u64>()).max();
    if let Some(peak) = peak.filter(|peak| *peak > 0) {
        tiles.push((format!("{} MiB", number(mebibytes(peak))), "broker's memory at its peak"));
    }
    if let Some(bytes) = results.broker_bytes_per_agent {
        tiles.push((format!("{} B", number(bytes)), "broker's memory per agent"));
    }
    let cpu = results.steps.iter().filter_map(|step| step.cpu_micros_per_message).reduce(f64::max);
    if let Some(cpu) = cpu {
        tiles.push((format!("{} µs", number(cpu)), "broker's CPU per message"));
    }
    page.push_str("<div class=\"tiles\">\n");
    for (figure, name) in tiles {
        let _ = writeln!(page, "<div class=\"tile\"><b>{figure}</b><span>{}</span></div>", escape(name));
    }
    page.push_str("</div>\n");
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn checks(results: &Results) -> String {
    let rows = results.checks.iter().map(|check| {
        let (class, word) = if check.passed { ("good", "yes") } else { ("bad", "no") };
        let (name, detail) = (escape(&check.name), escape(&check.detail));
        format!("<tr><td>{name}</td><td class=\"{class}\">{word}</td><td>{detail}</td></tr>\n")
    });
    format!("<table class=\"text\">\n{}</table>\n", rows.collect::<String>())
}

fn charts(page: &mut String, results: &Results) {
    let marks: Vec<(f64, String)> = results.steps.iter().map(|step| (step.begun, step.name.clone())).collect();
    let over_time = |unit: &'static str, series: Vec<(String, Vec<(f64, f64)>)>, label: &str| {
        Lines { series, marks: marks.clone(), unit, places: Vec::new() }.draw(label)
    };
    let samples = &results.samples;
    let connected = samples.iter().map(|sample| (sample.seconds, sample.counts.connected as f64)).collect();
    let label = "Connected agents over time";
    section(page, label, &over_time("agents", vec![("connected".to_owned(), connected)], label));
    let label = "Memory over time";
    let memory = per_process(&results.plan.watch, |pid| {
        let of =
            |sample: &Sample| Some((sample.seconds, mebibytes(sample.looks.iter().find(|l| l.pid == pid)?.resident)));
        samples.iter().filter_map(of).collect()
    });
    section(page, label, &over_time("MiB resident", memory, label));
    let label = "CPU over time";
    let cpu = per_process(&results.plan.watch, |pid| {
        rates(samples, |sample| sample.looks.iter().find(|look| look.pid == pid).map(|look| look.cpu() * 100.0))
    });
    section(page, label, &over_time("% of a core", cpu, label));
    if results.histograms.answer.count() > 0 {
        let label = "Messages over time";
        let sent = rates(samples, |sample| Some(sample.counts.sent as f64));
        let answered = rates(samples, |sample| Some(sample.counts.answered as f64));
        let series = vec![("requests".to_owned(), sent), ("results".to_owned(), answered)];
        section(page, label, &over_time("per second", series, label));
    }
    distributions(page, results);
}

fn distributions(page: &mut String, results: &Results) {
    let times = &results.histograms;
    let kinds = [("to the result", &times.answer), ("to the provisional response", &times.provisional)];
    let asked: Vec<(&str, &Times)> = kinds.into_iter().filter(|(_, times)| times.count() > 0).collect();
    let label = "Time of a request, by percentile";
    section(page, label, &percentiles(label, &asked));
    let label = "Time of a request, how often";
    section(page, label, &asked.first().map(|(_, times)| histogram(label, times)).unwrap_or_default());
    let label = "Time to connect, by percentile";
    section(page, label, &percentiles(label, &[("connect", &times.connect)]));
}

fn per_process(pids: &[u32], points: impl Fn(u32) -> Vec<(f64, f64)>) -> Vec<(String, Vec<(f64, f64)>)> {
    pids.iter().map(|pid| (format!("process {pid}"), points(*pid))).collect()
}

/// By how much something grows per second.
fn rates(samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    let rate = |pair: &[Sample]| {
        let seconds = pair[1].seconds - pair[0].seconds;
        let growth = value(&pair[1])? - value(&pair[0])?;
        (seconds > 0.0).then(|| (pair[1].seconds, (growth / seconds).max(0.0)))
    };
    samples.windows(2).filter_map(rate).collect()
}

/// On a scale on which each nine more is as far as the one before.
fn percentiles(label: &str, times: &[(&str, &Times)]) -> String {
    let place = |percent: f64| -(1.0 - percent / 100.0).max(1e-5).log10();
    let most = times.iter().map(|(_, times)| times.count()).max().unwrap_or(0).max(1) as f64;
    let end = most.log10().clamp(1.0, 5.0);
    let curve = |times: &Times| {
        let percents = (0..=100).map(|step| 100.0 * (1.0 - 10f64.powf(-end * f64::from(step) / 100.0)));
        percents.map(|percent| (place(percent), times.percentile(percent))).collect()
    };
    let named = [(0.0, "0 %"), (50.0, "50 %"), (90.0, "90 %"), (99.0, "99 %"), (99.9, "99.9 %"), (99.99, "99.99 %")];
    let places = named.into_iter().map(|(percent, name)| (place(percent), name.to_owned()));
    let series = times.iter().filter(|(_, times)| times.count() > 0);
    let series = series.map(|(name, times)| ((*name).to_owned(), curve(times))).collect();
    let places = places.filter(|(x, _)| *x <= end).collect();
    Lines { series, marks: Vec::new(), unit: "ms", places }.draw(label)
}

/// Bars that are twice as wide as the one before, in milliseconds.
fn histogram(label: &str, times: &Times) -> String {
    let borders: Vec<f64> = (0..26).map(|power| 0.0625 * f64::from(1 << power)).collect();
    let first = borders.iter().rposition(|border| *border <= times.shortest()).unwrap_or(0);
    let last = borders.iter().position(|border| *border > times.longest()).unwrap_or(borders.len() - 1);
    let bar = |at: usize| {
        let from = if at == 0 { 0.0 } else { borders[at] };
        let to = borders.get(at + 1).copied().unwrap_or(f64::INFINITY);
        (format!("< {}", number(to)), times.between(from, to))
    };
    bars(label, "requests, by milliseconds", &(first..last.max(first + 1)).map(bar).collect::<Vec<_>>())
}

fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |tag: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let rows: String = rows.iter().map(|row| cells("td", row)).collect();
    format!("<div class=\"wide\"><table>\n{}{rows}</table></div>\n", cells("th", &header))
}

fn steps(steps: &[StepResult]) -> String {
    let row = |step: &StepResult| {
        let counts = &step.counts;
        let optional = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
        vec![
            step.name.clone(),
            format!("{:.1}", step.seconds),
            step.connected.to_string(),
            step.connected_least.to_string(),
            counts.dials.to_string(),
            counts.opened.to_string(),
            (counts.timeouts + counts.refused + counts.turned_away + counts.failed).to_string(),
            optional(step.wasted_percent),
            counts.sent.to_string(),
            counts.answered.to_string(),
            (counts.unanswered + counts.not_connected + counts.rejected).to_string(),
            optional(step.cpu_micros_per_message),
            optional(step.busy_percent),
            optional(step.stolen_percent),
        ]
    };
    let header = [
        "step",
        "s",
        "connected",
        "fewest",
        "dials",
        "opened",
        "failed",
        "wasted %",
        "requests",
        "results",
        "without",
        "µs/message",
        "busy %",
        "stolen %",
    ];
    table(&header, steps.iter().map(row).collect())
}

fn latencies(steps: &[StepResult]) -> String {
    let rows = steps.iter().flat_map(|step| {
        step.latencies.iter().map(|(name, times)| {
            let figures = [times.min, times.mean, times.p50, times.p90, times.p99, times.p999, times.max];
            let mut row = vec![format!("{}: {name}", step.name), times.count.to_string()];
            row.extend(figures.map(number));
            row
        })
    });
    table(&["step: time", "number", "least", "mean", "p50", "p90", "p99", "p99.9", "most"], rows.collect())
}

fn processes(steps: &[StepResult]) -> String {
    let rows = steps.iter().flat_map(|step| {
        step.processes.iter().map(|usage| {
            vec![
                step.name.clone(),
                usage.pid.to_string(),
                format!("{:.2}", usage.cpu_seconds),
                format!("{:.1}", mebibytes(usage.resident_before)),
                format!("{:.1}", mebibytes(usage.resident_after)),
                usage.descriptors.map_or_else(|| "–".to_owned(), |count| count.to_string()),
                usage.threads.to_string(),
            ]
        })
    });
    let header = ["step", "process", "CPU s", "MiB before", "MiB after", "descriptors", "threads"];
    table(&header, rows.collect())
}

fn failures(results: &Results) -> String {
    let rows = results.failures.iter().map(|(kind, count, text)| {
        let (kind, text) = (escape(kind), escape(text));
        format!("<tr><td>{kind}</td><td>{count}</td><td>{text}</td></tr>\n")
    });
    let rows: String = rows.collect();
    if rows.is_empty() { rows } else { format!("<table class=\"text\">\n{rows}</table>\n") }
}

fn parameters(results: &Results) -> String {
    let host = &results.host;
    let memory = format!("{} MiB", number(mebibytes(host.memory)));
    let mut rows: Vec<(String, String)> = vec![
        ("host of the fleet".to_owned(), host.name.clone()),
        ("kernel".to_owned(), host.kernel.clone()),
        ("processors".to_owned(), format!("{} × {}", host.processors, host.processor)),
        ("memory".to_owned(), memory),
        ("fleet's memory per agent".to_owned(), format!("{} B", results.fleet_bytes_per_agent)),
    ];
    if let Ok(serde_json::Value::Object(plan)) = serde_json::to_value(&results.plan) {
        rows.extend(plan.into_iter().map(|(key, value)| {
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Object(time) if time.contains_key("secs") => format!("{} s", time["secs"]),
                other => other.to_string(),
            };
            (key.replace('_', " "), value)
        }));
    }
    let row =
        |(name, value): (String, String)| format!("<tr><td>{}</td><td>{}</td></tr>\n", escape(&name), escape(&value));
    format!("<table class=\"text\">\n{}</table>\n", rows.into_iter().map(row).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::load::results::tests::results;

    #[test]
    fn the_page() {
        insta::assert_snapshot!(render(&results(|_| {})));
    }

    #[test]
    fn it_needs_nothing_else_and_nothing_in_it_is_markup() {
        let page = render(&results(|shares| shares[0].steps[1].name = "<script>alert(1)</script>".to_owned()));
        for forbidden in ["<script", "http:", "https:", "url(", "@import", "<b>late", "<x>", "<link"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("&lt;b&gt;late &amp; gone&lt;/b&gt;") && page.contains("&lt;script&gt;"));
        assert!(page.contains("<svg") && page.contains("prefers-color-scheme:dark") && page.contains("@media print"));
    }

    #[test]
    fn a_run_that_measured_nothing_has_a_page_too() {
        let mut results = results(|shares| shares.clear());
        results.samples.clear();
        assert!(render(&results).contains("not all checks passed"));
    }
}
