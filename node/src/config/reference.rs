//! Makes `config/reference.toml` from the types: their docs as comments, their defaults as values.
//!
//! Must not know any key by name.

use std::fmt::Write as _;

use serde_json::Value;

use super::Config;

/// The reference, as it stands in `config/reference.toml`. Every value is its default.
///
/// # Panics
/// Never for the types of this module: they are plain structs, whose schema and TOML always exist.
#[must_use]
pub fn reference() -> String {
    let schema = schemars::schema_for!(Config).to_value();
    let defaults = toml::Value::try_from(Config::default()).unwrap_or(toml::Value::Boolean(false));
    let mut out = String::from(
        "# Every setting of a node with its default. Generated: `troupe config reference`.\n\
         # Each can be overridden by a variable TROUPE_SECTION__KEY, as in TROUPE_HTTP__LISTEN.\n",
    );
    let sections = schema["properties"].as_object().into_iter().flatten();
    for (name, section) in sections {
        let definition = definition(&schema, section);
        out.push('\n');
        comment(&mut out, section);
        let _ = writeln!(out, "[{name}]");
        for (key, field) in definition["properties"].as_object().into_iter().flatten() {
            comment(&mut out, field);
            if let Some(value) = defaults.get(name).and_then(|section| section.get(key)) {
                let _ = writeln!(out, "{key} = {}", inline(value));
            }
        }
    }
    out
}

/// The schema that a section refers to.
fn definition<'a>(schema: &'a Value, section: &'a Value) -> &'a Value {
    let target = section["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
    target.and_then(|pointer| schema.pointer(pointer)).unwrap_or(section)
}

fn comment(out: &mut String, schema: &Value) {
    for line in schema["description"].as_str().unwrap_or_default().lines() {
        let _ = writeln!(out, "# {line}");
    }
}

fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let pairs: Vec<_> =
                table.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", pairs.join(", ")).replace("{  }", "{}")
        }
        other => other.to_string(),
    }
}
