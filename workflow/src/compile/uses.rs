//! `uses` of a step: what Troupe does itself, images, and actions of the repository that are made of steps.

use domain::{Action, Native, Variables};

use super::step::{Defaults, inputs, steps};
use crate::complaints::Complaints;
use crate::diagnostic::cut;
use crate::model::{Composite, Files, Located, composite};
use crate::template::Template;

/// Deepest nesting of actions; GitHub's.
const MAX_DEPTH: usize = 10;

/// No files.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn file(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
}

/// The directory in the repository that a `uses` names; none when it is none of the repository's, or leads out of it.
#[must_use]
pub fn directory_of(uses: &str) -> Option<String> {
    let path = uses.strip_prefix("./")?;
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let fine = |part: &&str| *part != ".." && !part.contains(char::is_control);
    parts.iter().all(fine).then(|| parts.join("/"))
}

pub(super) fn uses(
    action: &Located<String>,
    with: Option<&Template>,
    files: &dyn Files,
    depth: usize,
    c: &mut Complaints,
) -> Option<Action> {
    let name = action.value.as_str();
    if let Some(image) = name.strip_prefix("docker://") {
        if image.is_empty() || image.starts_with('-') || image.contains(char::is_whitespace) {
            c.unsupported(action.at, format!("{:?} is no image", cut(image)));
            return None;
        }
        return Some(Action::Docker { image: image.to_owned(), with: inputs(with) });
    }
    if let Some(path) = directory_of(name) {
        return local(path, action, inputs(with), files, depth, c);
    }
    let known = name.split_once('@').map(|(name, _)| name).unwrap_or(name);
    if let Some(what) = Native::ALL.into_iter().find(|native| native.as_str().eq_ignore_ascii_case(known)) {
        return Some(Action::Native { what, with: inputs(with) });
    }
    let allowed: Vec<_> = Native::ALL.into_iter().map(Native::as_str).collect();
    let instead = format!(
        "actions of others are not fetched and JavaScript is not run; use a script in an image that has what it needs, docker://IMAGE, \
         ./PATH of an action made of steps, or one of {}",
        allowed.join(", ")
    );
    c.unsupported(action.at, format!("the action {:?} is not supported: {instead}", cut(name)));
    None
}

fn local(
    path: String,
    action: &Located<String>,
    given: Variables,
    files: &dyn Files,
    depth: usize,
    c: &mut Complaints,
) -> Option<Action> {
    if depth >= MAX_DEPTH {
        c.invalid(action.at, format!("actions use each other more than {MAX_DEPTH} levels deep"));
        return None;
    }
    let found = ["action.yml", "action.yaml"].into_iter().find_map(|name| {
        let file = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        files.file(&format!("./{file}")).map(|bytes| (file, bytes))
    });
    let Some((file, bytes)) = found else {
        c.invalid(action.at, format!("there is no action.yml in {:?} at this commit", cut(&path)));
        return None;
    };
    let (read, mut within) = composite(&bytes);
    let made = read.map(|read: Composite| {
        for input in read.inputs.iter().filter(|input| input.required && input.default.is_none()) {
            if given.iter().all(|(name, _)| !name.is_empty() && !name.eq_ignore_ascii_case(&input.name)) {
                c.invalid(action.at, format!("the input {:?} of {file} is required", cut(&input.name)));
            }
        }
        // What is given stands behind the defaults, so that it wins.
        let defaults =
            read.inputs.iter().map(|input| (input.name.clone(), input.default.clone().unwrap_or_default()));
        let all: Variables = defaults.chain(given).collect();
        let inner = steps(&read.steps, &Defaults::default(), files, depth + 1, &mut within);
        Action::Composite { path: path.clone(), inputs: all, steps: inner, outputs: read.outputs }
    });
    if let Some(first) = within.sorted().first() {
        c.add(action.at.says_of(first.kind, format!("in {file}:{first}")));
        return None;
    }
    made
}
