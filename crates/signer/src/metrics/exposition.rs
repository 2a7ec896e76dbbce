//! The counters as text for Prometheus.
use super::histogram::BOUNDS_MICROS;
use super::{Histogram, Metrics, ValidatorMetrics, step_index};
use guard::Step;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The media type of [`Metrics::render`]: Prometheus' text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Metrics {
    /// All counters in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let validators = self.all();
        let mut page = Page { text: String::with_capacity(4096 * (validators.len() + 1)), validators };
        page.family("build_info", "gauge", "Which build is running.");
        page.line("build_info", &[("version", self.build.version), ("commit", self.build.commit)], 1);
        page.family("uptime_seconds", "gauge", "Seconds since the process started.");
        page.line("uptime_seconds", &[], self.started.elapsed().as_secs_f64());
        page.last_signed();
        page.signatures();
        page.reasons("refusals_total", "Requests refused by the double-sign rule.", |v| v.refusals.counts());
        page.reasons("invalid_requests_total", "Requests that no honest node makes.", |v| v.invalid.counts());
        page.reasons("store_errors_total", "Failed attempts to save the signing state.", |v| v.store_errors.counts());
        page.histogram("commit_seconds", "Time to make a record durable.", |v| &v.commits);
        page.histogram("answer_seconds", "Time from a request for a signature to its answer.", |v| &v.answers);
        page.connections();
        page.text
    }
}

struct Page {
    text: String,
    validators: Vec<Arc<ValidatorMetrics>>,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "# HELP tmkms_{name} {help}\n# TYPE tmkms_{name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.text, "tmkms_{name}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escape(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// One line for each validator that has a value.
    fn each<V: std::fmt::Display>(&mut self, name: &str, help: &str, value: impl Fn(&ValidatorMetrics) -> Option<V>) {
        self.family(name, "gauge", help);
        for validator in self.validators.clone() {
            if let Some(value) = value(&validator) {
                self.line(name, &labels(&validator), value);
            }
        }
    }

    fn last_signed(&mut self) {
        self.each("last_signed_height", "Height of the last signature.", |v| Some(v.last()?.position.height));
        self.each("last_signed_round", "Round of the last signature.", |v| Some(v.last()?.position.round));
        self.each("last_signed_step", "Step of the last signature: 1 proposal, 2 prevote, 3 precommit.", |v| {
            Some(v.last()?.position.step as u8)
        });
        self.each("seconds_since_last_signature", "Seconds since the last signature was answered.", |v| {
            Some(v.last()?.at.elapsed().as_secs_f64())
        });
    }

    fn signatures(&mut self) {
        self.family("signatures_total", "counter", "Signatures that nodes were given, repeats included.");
        for validator in self.validators.clone() {
            for step in Step::ALL {
                let [chain, address] = labels(&validator);
                let count = validator.signatures[step_index(step)].load(Relaxed);
                self.line("signatures_total", &[chain, address, ("step", step.name())], count);
            }
        }
        self.family("repeats_total", "counter", "Signatures that repeat a recorded message.");
        for validator in self.validators.clone() {
            self.line("repeats_total", &labels(&validator), validator.repeats.load(Relaxed));
        }
    }

    fn reasons(&mut self, name: &str, help: &str, counts: impl Fn(&ValidatorMetrics) -> Vec<(&'static str, u64)>) {
        self.family(name, "counter", help);
        for validator in self.validators.clone() {
            for (reason, count) in counts(&validator) {
                let [chain, address] = labels(&validator);
                self.line(name, &[chain, address, ("reason", reason)], count);
            }
        }
    }

    fn histogram(&mut self, name: &str, help: &str, of: impl Fn(&ValidatorMetrics) -> &Histogram) {
        self.family(name, "histogram", help);
        for validator in self.validators.clone() {
            let counts = of(&validator).counts();
            let [chain, address] = labels(&validator);
            for (index, count) in counts.at_most.into_iter().enumerate() {
                let bound = BOUNDS_MICROS.get(index).map_or("+Inf".to_owned(), |micros| seconds(*micros));
                self.line(&format!("{name}_bucket"), &[chain, address, ("le", &bound)], count);
            }
            self.line(&format!("{name}_sum"), &[chain, address], counts.sum.as_secs_f64());
            self.line(&format!("{name}_count"), &[chain, address], counts.total());
        }
    }

    fn connections(&mut self) {
        let families = [
            ("connection_up", "gauge", "Whether the node is connected."),
            (
                "connects_total",
                "counter",
                "Connections that became ready for requests; all but the first are reconnects.",
            ),
            ("connect_failures_total", "counter", "Dials and handshakes that failed."),
        ];
        for (name, kind, help) in families {
            self.family(name, kind, help);
            for validator in self.validators.clone() {
                for connection in validator.all_connections() {
                    let value = match name {
                        "connection_up" => u64::from(connection.up.load(Relaxed)),
                        "connects_total" => connection.connects.load(Relaxed),
                        _ => connection.failures.load(Relaxed),
                    };
                    let [chain, address] = labels(&validator);
                    self.line(name, &[chain, address, ("node", &connection.address)], value);
                }
            }
        }
    }
}

fn labels(validator: &ValidatorMetrics) -> [(&str, &str); 2] {
    [("chain_id", validator.chain_id.as_str()), ("validator", &validator.address)]
}

/// A bound in seconds without trailing zeroes: 0.00005, 0.1, 5.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A label's value may hold anything but a bare quote, backslash or line break.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
