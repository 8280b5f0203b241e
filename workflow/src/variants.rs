//! A job's variants: one for each combination of its matrix, with its name and labels computed.
//!
//! Must not know: what runs them.

use std::sync::Arc;

use crate::diagnostic::{At, Diagnostic, cut};
use crate::expression::{NoEnvironment, Object, Value, Visit};
use crate::matrix;
use crate::model::{Dynamic, Job, Located, Strategy, Work};
use crate::template::{Content, Template};

/// One of the jobs that a job of the file becomes.
#[derive(Debug, Clone)]
pub struct Variant {
    /// As people see it: the job's name, and the values of the matrix where the file gives no name of its own.
    pub name: String,
    /// What the machine must offer.
    pub labels: Vec<String>,
    /// All contexts that were given, and this variant's `matrix` and `strategy`.
    pub contexts: Object,
}

/// The variants of a job, in order; one when it has no matrix.
///
/// # Errors
/// A matrix that is none or makes too many jobs, and expressions that cannot be computed, at their places.
pub fn variants(job: &Job, contexts: &Object) -> Result<Vec<Variant>, Diagnostic> {
    let found = Found::of(job.strategy.as_ref(), contexts)?;
    let combinations = match &found.matrix {
        None => vec![None],
        Some((at, matrix)) => {
            let made = matrix::combinations(matrix).map_err(|invalid| at.invalid(invalid.to_string()))?;
            made.into_iter().map(Some).collect()
        }
    };
    let limits = Limits::of(&found, combinations.len())?;
    let variant = |(index, combination): (usize, &Option<Arc<Object>>)| {
        let mut contexts = contexts.clone();
        let matrix = combination.as_ref().map_or(Value::Null, |one| Value::Object(Arc::clone(one)));
        contexts.insert("matrix", matrix);
        contexts.insert("strategy", limits.context(index));
        let name = name(job, combination.as_deref(), &contexts)?;
        Ok(Variant { name, labels: labels(job, &contexts)?, contexts })
    };
    combinations.iter().enumerate().map(variant).collect()
}

/// `strategy`, computed, and where each of it stands.
#[derive(Default)]
struct Found {
    matrix: Option<(At, Value)>,
    fail_fast: Option<(At, Value)>,
    max_parallel: Option<(At, Value)>,
}

impl Found {
    fn of(strategy: Option<&Strategy>, contexts: &Object) -> Result<Self, Diagnostic> {
        let Some(strategy) = strategy else { return Ok(Self::default()) };
        if let Some(whole) = &strategy.whole {
            return Self::of_whole(whole.at, &resolve(whole, contexts)?);
        }
        let matrix = strategy.matrix.as_ref().map(|found| Ok((found.at, resolve(found, contexts)?)));
        let fail_fast = strategy.fail_fast.as_ref();
        let fail_fast = fail_fast.map(|found| Ok((found.at, value_of(found, contexts, Value::Boolean)?)));
        let parallel = strategy.max_parallel.as_ref();
        let parallel = parallel.map(|found| Ok((found.at, value_of(found, contexts, Value::Number)?)));
        Ok(Self {
            matrix: matrix.transpose()?,
            fail_fast: fail_fast.transpose()?,
            max_parallel: parallel.transpose()?,
        })
    }

    fn of_whole(at: At, value: &Value) -> Result<Self, Diagnostic> {
        const KEYS: [&str; 3] = ["matrix", "fail-fast", "max-parallel"];
        let Value::Object(map) = value else {
            return Err(at.invalid("strategy is computed to be no map"));
        };
        if let Some((name, _)) = map.iter().find(|(name, _)| !KEYS.contains(name)) {
            let (name, allowed) = (cut(name), KEYS.join(", "));
            return Err(at.invalid(format!("strategy is computed to have {name:?}. Allowed: {allowed}")));
        }
        let of = |name: &str| map.get(name).map(|value| (at, value.clone()));
        Ok(Self { matrix: of("matrix"), fail_fast: of("fail-fast"), max_parallel: of("max-parallel") })
    }
}

/// What `strategy` says of all variants.
struct Limits {
    total: usize,
    fail_fast: bool,
    max_parallel: f64,
}

impl Limits {
    fn of(found: &Found, total: usize) -> Result<Self, Diagnostic> {
        let mut limits = Self { total, fail_fast: true, max_parallel: total as f64 };
        if let Some((_, value)) = &found.fail_fast {
            limits.fail_fast = value.is_truthy();
        }
        if let Some((at, value)) = &found.max_parallel {
            let number = value.as_number();
            if !(1.0..=f64::from(u32::MAX)).contains(&number) {
                return Err(at.invalid(format!("max-parallel is {number}, expected a number from 1")));
            }
            limits.max_parallel = number.floor();
        }
        Ok(limits)
    }

    fn context(&self, index: usize) -> Value {
        Value::object([
            ("fail-fast", Value::Boolean(self.fail_fast)),
            ("job-index", Value::Number(index as f64)),
            ("job-total", Value::Number(self.total as f64)),
            ("max-parallel", Value::Number(self.max_parallel)),
        ])
    }
}

fn value_of<T: Clone>(
    found: &Located<Dynamic<T>>,
    contexts: &Object,
    make: fn(T) -> Value,
) -> Result<Value, Diagnostic> {
    match &found.value {
        Dynamic::Is(value) => Ok(make(value.clone())),
        Dynamic::Computed(expression) => {
            let template = Template { at: found.at, content: Content::Expression(expression.clone()) };
            resolve(&template, contexts)
        }
    }
}

fn resolve(template: &Template, contexts: &Object) -> Result<Value, Diagnostic> {
    template.resolve(contexts, &NoEnvironment).map_err(|(at, error)| at.invalid(error.to_string()))
}

/// The values of the matrix are shown unless the file's own name for the job has something of it.
fn name(job: &Job, combination: Option<&Object>, contexts: &Object) -> Result<String, Diagnostic> {
    let (text, names_matrix) = match &job.name {
        None => (job.id.value.clone(), false),
        Some(name) => {
            let mut names_matrix = false;
            if let Dynamic::Computed(expression) = &name.value {
                expression.visit(&mut |seen| {
                    names_matrix |=
                        matches!(seen, Visit::Context(name) if name.eq_ignore_ascii_case("matrix"));
                });
            }
            let text = value_of(name, contexts, Value::text)?.as_text().to_string();
            (if text.is_empty() { job.id.value.clone() } else { text }, names_matrix)
        }
    };
    Ok(match combination {
        Some(combination) if !names_matrix => format!("{text} {}", matrix::shown(combination)),
        _ => text,
    })
}

/// One label may be a list that was computed.
fn labels(job: &Job, contexts: &Object) -> Result<Vec<String>, Diagnostic> {
    let Work::Steps(work) = &job.work else { return Ok(Vec::new()) };
    let mut labels = Vec::new();
    for label in work.runs_on.iter().flat_map(|runs_on| &runs_on.labels) {
        match value_of(label, contexts, Value::text)? {
            Value::Array(array) => labels.extend(array.items.iter().map(|item| item.as_text().to_string())),
            value if value.is_primitive() => labels.push(value.as_text().to_string()),
            _ => return Err(label.at.invalid("runs-on is a map where a label was expected")),
        }
    }
    match labels.iter().position(String::is_empty) {
        Some(_) => Err(job.at.invalid("a label of runs-on is empty when it is computed")),
        None => Ok(labels),
    }
}
