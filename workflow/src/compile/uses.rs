//! `uses` of a step: what Troupe does itself, images, and actions of the repository that are made of steps.

use domain::{Action, Native, Variables};

use super::step::{Defaults, inputs, steps};
use crate::complaints::Complaints;
use crate::diagnostic::{At, cut};
use crate::library::{Missing, Used};
use crate::model::{Files, Located};
use crate::template::Template;

/// Deepest nesting of actions; GitHub's.
const MAX_DEPTH: usize = 10;
/// Most steps that are made of one file, those of its actions counted wherever they are used.
const MAX_STEPS: usize = 10_000;

/// How far steps were taken apart: an action that is used has steps of its own, which may use actions. What all of it may cost has
/// one limit, however it is nested.
pub(crate) struct Unfolding<'a> {
    pub(super) files: &'a Used<'a>,
    left: usize,
    /// The directories of the actions around the steps that it is at.
    within: Vec<String>,
}

impl<'a> Unfolding<'a> {
    pub(crate) fn new(files: &'a Used<'a>) -> Self {
        Self { files, left: MAX_STEPS, within: Vec::new() }
    }

    /// Takes one more step; complains when it is one too many.
    pub(super) fn take(&mut self, at: At, c: &mut Complaints) -> bool {
        if self.left == 0 {
            c.unsupported(at, format!("more than {MAX_STEPS} steps with those of the actions that are used"));
            return false;
        }
        self.left -= 1;
        true
    }
}

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
    unfolding: &mut Unfolding<'_>,
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
        return local(path, action, inputs(with), unfolding, c);
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
    unfolding: &mut Unfolding<'_>,
    c: &mut Complaints,
) -> Option<Action> {
    if let Some(first) = unfolding.within.iter().position(|around| *around == path) {
        let around = unfolding.within[first..].iter().chain([&path]);
        let circle: Vec<_> = around.map(|path| format!("./{}", cut(path))).collect();
        c.invalid(action.at, format!("the action uses itself: {}", circle.join(", ")));
        return None;
    }
    if unfolding.within.len() >= MAX_DEPTH {
        c.invalid(action.at, format!("actions use each other more than {MAX_DEPTH} levels deep"));
        return None;
    }
    let (file, read) = match unfolding.files.action(&path) {
        Ok(found) => found,
        Err(Missing::NotThere) => {
            c.invalid(action.at, format!("there is no action.yml in {:?} at this commit", cut(&path)));
            return None;
        }
        Err(Missing::TooMany) => {
            c.unsupported(action.at, Missing::too_many());
            return None;
        }
    };
    let (read, wrong) = &*read;
    if let Some(first) = wrong.first() {
        c.add(action.at.says_of(first.kind, format!("in {file}:{first}")));
        return None;
    }
    let read = read.as_ref()?;
    // What is given stands behind the defaults, so that it wins.
    let defaults =
        read.inputs.iter().map(|input| (input.name.clone(), input.default.clone().unwrap_or_default()));
    let inputs: Variables = defaults.chain(given).collect();
    let mut wrong = Complaints::default();
    unfolding.within.push(path.clone());
    let steps = steps(&read.steps, &Defaults::default(), unfolding, &mut wrong);
    unfolding.within.pop();
    if let Some(first) = wrong.sorted().first() {
        c.add(action.at.says_of(first.kind, format!("in {file}:{first}")));
        return None;
    }
    Some(Action::Composite { path, inputs, steps, outputs: read.outputs.clone() })
}
