//! What nodes counted between two looks at their metrics: Prometheus' text format, read and subtracted.
//!
//! Knows no metric by name, so that what a node learns to count is shown without a change here.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Serialize;

use super::super::{Client, Failure};

/// Every series of a node at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// `counter`, `gauge` or `histogram`, by name.
    kinds: BTreeMap<String, String>,
    /// Value by name and labels, as they are written.
    values: BTreeMap<(String, String), f64>,
}

/// How one series changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its name with its labels.
    pub series: String,
    /// By how much a counter grew, or how many values a histogram got.
    pub count: f64,
    /// Of a histogram: the mean of these values.
    pub mean: Option<f64>,
    /// Of a histogram: the bound of the bucket in which half of them end.
    pub p50_at_most: Option<f64>,
    /// Of a histogram: the bound of the bucket in which 99 of 100 end.
    pub p99_at_most: Option<f64>,
}

/// What a node counts now.
///
/// # Errors
/// [`Failure`].
pub async fn fetch(url: &str) -> Result<Samples, Failure> {
    let client = Client::new(&[url.to_owned()], "")?;
    let answer = client.send(Method::GET, "", |request| request).await?;
    let text = answer.text().await.map_err(|error| client.broken(&error))?;
    Ok(Samples::parse(&text))
}

impl Samples {
    /// Reads the text format; a line that is not of it is no series.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut samples = Self::default();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                if let Some((name, kind)) = kind.split_once(' ') {
                    samples.kinds.insert(name.to_owned(), kind.to_owned());
                }
            } else if let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                if let Ok(value) = value.parse() {
                    let labels = labels.strip_suffix('}').unwrap_or(labels);
                    samples.values.insert((name.to_owned(), labels.to_owned()), value);
                }
            }
        }
        samples
    }

    /// What was counted since `before`, in order of names; what did not change is left out.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, labels) in self.values.keys() {
            let histogram = name.strip_suffix("_count").filter(|base| self.is(base, "histogram"));
            let count = self.grown(before, name, labels);
            if count <= 0.0 {
                continue;
            }
            if let Some(base) = histogram {
                changes.push(self.histogram(before, base, labels, count));
            } else if self.is(name, "counter") {
                let series = series(name, labels);
                changes.push(Change { series, count, mean: None, p50_at_most: None, p99_at_most: None });
            }
        }
        changes
    }

    fn is(&self, name: &str, kind: &str) -> bool {
        self.kinds.get(name).is_some_and(|found| found == kind)
    }

    fn value(&self, name: &str, labels: &str) -> f64 {
        self.values.get(&(name.to_owned(), labels.to_owned())).copied().unwrap_or(0.0)
    }

    fn grown(&self, before: &Self, name: &str, labels: &str) -> f64 {
        self.value(name, labels) - before.value(name, labels)
    }

    fn histogram(&self, before: &Self, base: &str, labels: &str, count: f64) -> Change {
        let bucket = format!("{base}_bucket");
        let of_bucket = self.values.keys().filter(|(name, _)| *name == bucket);
        let mut buckets: Vec<(f64, f64)> = of_bucket
            .filter_map(|(name, all)| {
                let (bound, rest) = bound(all)?;
                (rest == labels).then(|| (bound, self.grown(before, name, all)))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let at_most =
            |share: f64| buckets.iter().find(|(_, grown)| *grown >= count * share).map(|(bound, _)| *bound);
        Change {
            series: series(base, labels),
            count,
            mean: Some(self.grown(before, &format!("{base}_sum"), labels) / count),
            // JSON knows no infinity: past the last bound nothing is known.
            p50_at_most: at_most(0.5).filter(|bound| bound.is_finite()),
            p99_at_most: at_most(0.99).filter(|bound| bound.is_finite()),
        }
    }
}

fn series(name: &str, labels: &str) -> String {
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") }
}

/// The bound of a bucket, and its other labels; `le` is written last.
fn bound(labels: &str) -> Option<(f64, &str)> {
    let (rest, bound) = labels.rsplit_once("le=\"")?;
    let bound = bound.strip_suffix('"')?.parse().ok()?;
    Some((bound, rest.strip_suffix(',').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP a_seconds x\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"0.1\"} 1\n\
        a_seconds_bucket{le=\"1\"} 1\na_seconds_bucket{le=\"+Inf\"} 1\na_seconds_sum 0.05\na_seconds_count 1\n\
        # TYPE n_total counter\nn_total{class=\"2xx\"} 5\n# TYPE depth gauge\ndepth 1\n";
    const AFTER: &str = "# HELP a_seconds x\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"0.1\"} 3\n\
        a_seconds_bucket{le=\"1\"} 4\na_seconds_bucket{le=\"+Inf\"} 5\na_seconds_sum 4.05\na_seconds_count 5\n\
        # TYPE n_total counter\nn_total{class=\"2xx\"} 5\nn_total{class=\"4xx\"} 2\n# TYPE depth gauge\ndepth 9\n\
        not a sample\n";

    #[test]
    fn only_what_was_counted_in_between_is_a_change() {
        let changes = Samples::parse(AFTER).since(&Samples::parse(BEFORE));
        let a = Change {
            series: "a_seconds".to_owned(),
            count: 4.0,
            mean: Some(1.0),
            p50_at_most: Some(0.1),
            p99_at_most: None,
        };
        let n = Change {
            series: "n_total{class=\"4xx\"}".to_owned(),
            count: 2.0,
            mean: None,
            p50_at_most: None,
            p99_at_most: None,
        };
        assert_eq!(changes, [a, n]);
    }

    #[test]
    fn buckets_belong_to_the_series_with_their_other_labels() {
        let text = "# TYPE b histogram\nb_bucket{k=\"x\",le=\"1\"} 0\nb_bucket{k=\"x\",le=\"2\"} 2\n\
            b_bucket{k=\"y\",le=\"1\"} 1\nb_sum{k=\"x\"} 3\nb_count{k=\"x\"} 2\nb_sum{k=\"y\"} 1\nb_count{k=\"y\"} 1\n";
        let changes = Samples::parse(text).since(&Samples::default());
        let bounds: Vec<_> =
            changes.iter().map(|change| (change.series.as_str(), change.p50_at_most)).collect();
        assert_eq!(bounds, [("b{k=\"x\"}", Some(2.0)), ("b{k=\"y\"}", Some(1.0))]);
    }

    #[test]
    fn nothing_of_the_text_makes_it_fail() {
        for text in ["", "# TYPE", "# TYPE x", "x", "x{", "x{le=\"", "x_count{le=\"} 1", "{} {} {}", "x NaN"]
        {
            assert_eq!(Samples::parse(text).since(&Samples::default()), []);
        }
    }
}
