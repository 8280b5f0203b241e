//! `troupe workflow lint`: what a node would refuse in workflow files, found without a node.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};
use workflow::{Diagnostic, Kind, directory_of};

use super::submit::bytes_of;
use super::{Failure, table};

/// How complaints are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// `file:line:column: message`.
    Text,
    /// A list of objects.
    Json,
    /// SARIF 2.1.0, as code scanners and editors read it.
    Sarif,
}

/// The files of a checkout, as far as workflows call and use them.
#[derive(Debug, Clone)]
pub struct Checkout(pub PathBuf);

impl Checkout {
    /// The checkout that a workflow file is in: the nearest directory above it that has `.git`, else where its path begins.
    #[must_use]
    pub fn around(file: &Path) -> Self {
        let full = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let root = full.ancestors().skip(1).find(|directory| directory.join(".git").exists());
        let above = || full.ancestors().nth(3).unwrap_or_else(|| Path::new(".")).to_owned();
        Self(root.map_or_else(above, Path::to_owned))
    }
}

impl workflow::model::Files for Checkout {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(directory_of(uses)?)).ok()
    }
}

/// Prints what is wrong; the answer is the exit code: 2 when anything is.
///
/// # Errors
/// [`Failure::Input`], [`Failure::Output`].
pub fn run(files: &[PathBuf], format: Format) -> Result<u8, Failure> {
    let mut found = Vec::new();
    for path in files {
        let bytes = bytes_of(path)?;
        let wrong = workflow::lint(&bytes, &Checkout::around(path)).err().unwrap_or_default();
        found.extend(wrong.into_iter().map(|wrong| (path.display().to_string(), wrong)));
    }
    match format {
        Format::Text => text(&found)?,
        Format::Json => table::pretty(&found.iter().map(plain).collect::<Vec<_>>())?,
        Format::Sarif => table::pretty(&sarif(&found))?,
    }
    Ok(if found.is_empty() { 0 } else { 2 })
}

fn text(found: &[(String, Diagnostic)]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    for (file, wrong) in found {
        let kind = kind(wrong);
        writeln!(out, "{}:{} ({kind})", table::plain(file), table::plain(&wrong.to_string()))?;
    }
    Ok(())
}

fn kind(wrong: &Diagnostic) -> &'static str {
    match wrong.kind {
        Kind::Invalid => "invalid",
        Kind::Unsupported => "unsupported",
    }
}

fn plain((file, wrong): &(String, Diagnostic)) -> Value {
    json!({ "file": file, "line": wrong.line, "column": wrong.column, "kind": kind(wrong),
        "message": wrong.message })
}

/// Rules: SARIF 2.1.0, sections 3.13 to 3.30.
fn sarif(found: &[(String, Diagnostic)]) -> Value {
    let rules = [
        ("invalid", "What the language of workflow files does not allow"),
        ("unsupported", "What is right in the language, and is not run here"),
    ];
    let rules = rules.map(|(id, about)| json!({ "id": id, "shortDescription": { "text": about } }));
    let result = |(file, wrong): &(String, Diagnostic)| {
        let region = json!({ "startLine": wrong.line, "startColumn": wrong.column });
        let place = json!({ "artifactLocation": { "uri": uri(file) }, "region": region });
        json!({ "ruleId": kind(wrong), "level": "error", "message": { "text": wrong.message },
            "locations": [{ "physicalLocation": place }] })
    };
    let files: BTreeSet<_> = found.iter().map(|(file, _)| uri(file)).collect();
    let artifacts: Vec<_> = files.into_iter().map(|uri| json!({ "location": { "uri": uri } })).collect();
    let driver = json!({ "name": "troupe", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    let run = json!({ "tool": { "driver": driver }, "columnKind": "unicodeCodePoints",
        "artifacts": artifacts, "results": found.iter().map(result).collect::<Vec<_>>() });
    json!({ "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run] })
}

/// A path as a relative reference.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    path.split('/').map(super::client::escaped).collect::<Vec<_>>().join("/")
}
