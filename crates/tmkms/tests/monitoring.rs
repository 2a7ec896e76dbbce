//! The dashboard, the alert rules and their page speak of what the signer exposes, by name, label and reason.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use guard::{ChainId, Height, Position, Round, Step};
use signer::{Build, Metrics};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// What Prometheus, the scrape job and the alerts themselves add to a metric's own labels.
const ADDED_LABELS: [&str; 3] = ["instance", "job", "severity"];

/// One line of each kind that the signer can expose.
fn page() -> String {
    let metrics = Metrics::new(Build { version: "0.1.0", commit: "abc" });
    let validator = metrics.validator(&ChainId::try_from("test-1").unwrap(), "AA");
    let height = Height::try_from(7).unwrap();
    let position = Position { height, round: Round::ZERO, step: Step::Prevote };
    [false, true].into_iter().for_each(|is_repeat| validator.signed(position, is_repeat));
    validator.invalid.count("raw_bytes");
    validator.commits.record(Duration::from_millis(1));
    validator.answers.record(Duration::from_millis(1));
    validator.connection("unix:///node.sock").connected();
    metrics.render() + &tmkms::logging::metrics()
}

/// The samples' names, each with its labels and the reasons that it has from the start.
#[derive(Default)]
struct Exposed {
    labels: BTreeMap<String, BTreeSet<String>>,
    reasons: BTreeMap<String, BTreeSet<String>>,
}

fn exposed() -> Exposed {
    let mut exposed = Exposed::default();
    for line in page().lines().filter(|line| !line.starts_with('#')) {
        let (sample, _value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let known = exposed.labels.entry(name.to_owned()).or_default();
        for (label, value) in labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('=')) {
            known.insert(label.to_owned());
            if label == "reason" {
                exposed.reasons.entry(name.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
            }
        }
    }
    exposed
}

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

const fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// Every `tmkms_…` in a text, with what stands in braces after it.
fn mentions(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("tmkms_") {
        let rest = &text[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        let braces = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).map_or("", |(inner, _)| inner);
        found.push((name.to_owned(), braces.replace("\\\"", "\"")));
    }
    found
}

/// `label="value"`, `label=~"a|b"`, `label!="value"`: the label, whether it is a match, and the values.
fn matchers(selector: &str) -> Vec<(String, bool, Vec<String>)> {
    let one = |part: &str| {
        let (label, value) = part.trim().split_once(['=', '!'])?;
        let values = value.split('"').nth(1)?.split('|').map(str::to_owned).collect();
        Some((label.to_owned(), !part.contains('!'), values))
    };
    selector.split(',').filter_map(one).collect()
}

fn check(file: &str) {
    let exposed = exposed();
    let mentions = mentions(&read(file));
    assert!(mentions.len() > 10, "{file} was not read");
    for (name, selector) in mentions {
        let labels = exposed.labels.get(&name).unwrap_or_else(|| panic!("{file}: nothing exposes {name}"));
        for (label, is_match, values) in matchers(&selector) {
            let is_known = labels.contains(&label) || ADDED_LABELS.contains(&label.as_str());
            assert!(is_known, "{file}: {name} has no label {label:?}");
            // Reasons of invalid requests show only once they occurred.
            if label == "reason" && is_match && name != "tmkms_invalid_requests_total" {
                let unknown: Vec<_> = values.iter().filter(|value| !exposed.reasons[&name].contains(*value)).collect();
                assert!(unknown.is_empty(), "{file}: {name} has no reason {unknown:?}");
            }
        }
    }
}

#[test]
fn the_alerts_watch_what_is_exposed() {
    check("alerts.yml");
    check("alerts_test.yml");
}

#[test]
fn the_dashboard_is_json_and_shows_what_is_exposed() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    check("dashboard.json");
}

#[test]
fn every_metric_and_reason_is_explained_and_nothing_else_is() {
    let text = read("README.md");
    let exposed = exposed();
    let family = |name: &str| {
        let without = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part));
        without.unwrap_or(name).to_owned()
    };
    let families: BTreeSet<_> = exposed.labels.keys().map(|name| family(name)).collect();
    let explained: BTreeSet<_> = mentions(&text).into_iter().map(|(name, _)| family(&name)).collect();
    assert_eq!(explained, families);
    for reason in exposed.reasons.values().flatten() {
        assert!(text.contains(&format!("`{reason}`")), "the reason {reason} is not explained");
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = read("dashboard.json");
    for name in exposed().labels.keys() {
        assert!(dashboard.contains(name), "{name} is not shown");
    }
}

#[test]
fn a_selector_is_read_as_prometheus_reads_it() {
    let found = mentions("sum(tmkms_x_total{reason=~\\\"a|b\\\", job!=\\\"c\\\"}) + tmkms_y");
    assert_eq!(found[1], ("tmkms_y".to_owned(), String::new()));
    assert_eq!(
        matchers(&found[0].1),
        [
            ("reason".to_owned(), true, vec!["a".to_owned(), "b".to_owned()]),
            ("job".to_owned(), false, vec!["c".to_owned()])
        ]
    );
}
