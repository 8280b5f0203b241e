//! Schemas of what comes in and of what goes out, from the types themselves.
//!
//! Must not know which operations use them.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::operation::SchemaOf;

/// Where documents keep their schemas.
pub(super) const PLACE: &str = "#/components/schemas/";

/// Collects the definitions of a document.
///
/// What may be left out of a request is always there in an answer, so that each has a generator of its own.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        // OpenAPI 3.1 takes JSON Schema 2020-12 as it is.
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            requests: settings.clone().for_deserialize().into_generator(),
            answers: settings.for_serialize().into_generator(),
        }
    }

    /// The schema of what comes in.
    pub(super) fn request(&mut self, of: SchemaOf) -> Value {
        of(&mut self.requests).to_value()
    }

    /// The schema of what goes out.
    pub(super) fn answer(&mut self, of: SchemaOf) -> Value {
        of(&mut self.answers).to_value()
    }

    /// All definitions. A type that is sent and answered, and that differs between the two, is two types under one name:
    /// a test refuses it.
    pub(super) fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.answers.take_definitions(true);
        all.append(&mut self.requests.take_definitions(true));
        all
    }

    /// Names of definitions that differ between requests and answers.
    #[cfg(test)]
    pub(super) fn differing(&self) -> Vec<&String> {
        let (requests, answers) = (self.requests.definitions(), self.answers.definitions());
        requests
            .keys()
            .filter(|name| answers.get(*name).is_some_and(|other| *other != requests[*name]))
            .collect()
    }
}
