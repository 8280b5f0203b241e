//! Reads a workflow file as GitHub does.

use crate::complaints::Complaints;
use crate::diagnostic::Diagnostic;
use crate::model::{self, Workflow};
use crate::template::Template;
use crate::{schema, yaml};

/// Reads a workflow file as GitHub does, whether it is supported here or not: the model, and what GitHub refuses.
///
/// The model is there even when something is wrong, as far as it goes; it is not when the file is no YAML. The complaints
/// are in the order of the file, at most 100.
#[must_use]
pub fn read(bytes: &[u8]) -> (Option<Workflow>, Vec<Diagnostic>) {
    let (read, complaints) = read_all(bytes);
    (read.map(|(workflow, _)| workflow), complaints.sorted())
}

/// As [`read`], for what goes on to complain; with what the model was made of.
pub(crate) fn read_all(bytes: &[u8]) -> (Option<(Workflow, Template)>, Complaints) {
    let mut complaints = Complaints::default();
    let node = match yaml::parse(bytes) {
        Ok(node) => node,
        Err(error) => {
            complaints.add(error);
            return (None, complaints);
        }
    };
    let template = schema::read(&node, &schema::WORKFLOW, &mut complaints);
    // What a file means is looked at only when its form is right, as GitHub does: with the form mended, it may be fine.
    if complaints.any_invalid() {
        let workflow = model::workflow(&template, &mut Complaints::default());
        return (Some((workflow, template)), complaints);
    }
    let workflow = model::workflow(&template, &mut complaints);
    (Some((workflow, template)), complaints)
}
