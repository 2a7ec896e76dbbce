//! Prometheus text, read: counters, gauges, and quantiles of histograms.
use std::collections::BTreeMap;

/// One sample of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name, with its suffix.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// An exposition.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<Sample>);

impl Metrics {
    /// Reads the text format; lines that are no samples are skipped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// Every sample.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// The sum of all samples of a name whose labels include these.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Whether there is a sample of that name with these labels.
    #[must_use]
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// An upper estimate of the quantile `q` (0 to 1) of the histogram `name`, interpolated within its bucket; in the histogram's unit.
    #[must_use]
    pub fn quantile(&self, name: &str, labels: &[(&str, &str)], q: f64) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.matching(&format!("{name}_bucket"), labels) {
            let bound = sample.labels.get("le")?.parse().unwrap_or(f64::INFINITY);
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        interpolate(&buckets, q)
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        })
    }
}

fn interpolate(buckets: &[(f64, f64)], q: f64) -> Option<f64> {
    let total = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= q * total {
            let share = if count > &below { (q * total - below) / (count - below) } else { 1.0 };
            return Some(if bound.is_finite() { low + (bound - low) * share } else { low });
        }
        (low, below) = (*bound, *count);
    }
    None
}

fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = head.split_once('{').unwrap_or((head, ""));
    let mut found = BTreeMap::new();
    for pair in labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
        let (key, text) = pair.split_once("=\"")?;
        found.insert(key.to_owned(), text.trim_end_matches('"').to_owned());
    }
    Some(Sample { name: name.to_owned(), labels: found, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let text = "# HELP t seconds\nt_bucket{le=\"0.1\",c=\"x\"} 50\nt_bucket{le=\"0.2\",c=\"x\"} 100\nt_bucket{le=\"+Inf\",c=\"x\"} 100\nn{c=\"x\"} 7\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.quantile("t", &[("c", "x")], 0.5), Some(0.1));
        assert!((metrics.quantile("t", &[], 0.75).unwrap() - 0.15).abs() < 1e-9);
        assert_eq!(metrics.sum("n", &[]), 7.0);
        assert_eq!(metrics.quantile("other", &[], 0.5), None);
    }
}
