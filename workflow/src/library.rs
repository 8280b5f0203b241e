//! The files of a repository that workflow files lead to: each asked for once and read once, however often it is named, and no more of
//! them than are allowed.
//!
//! Must not know: where files come from, what is made of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::diagnostic::Diagnostic;
use crate::model::{Composite, Files, Workflow, composite};
use crate::read;

/// Most files that are asked for: each is asked of git.
const MAX_FILES: usize = 512;
/// Most bytes of them together.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A file as it was read, and what is wrong with it.
pub(crate) type Read<T> = (Option<T>, Vec<Diagnostic>);

/// All that is read for one event.
pub(crate) struct Library<'a> {
    files: &'a dyn Files,
    kept: RefCell<BTreeMap<String, Option<Rc<[u8]>>>>,
    bytes: Cell<usize>,
    workflows: RefCell<HashMap<String, Option<Rc<Read<Workflow>>>>>,
    actions: RefCell<HashMap<String, Rc<Read<Composite>>>>,
}

/// Why there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The repository has none of that name, or it is too large.
    NotThere,
    /// Too many were asked for already, or they are too large together.
    TooMany,
}

impl Missing {
    /// What is said of [`Self::TooMany`].
    pub(crate) fn too_many() -> String {
        format!(
            "more than {MAX_FILES} files, or {} MiB of them, are used at this commit",
            MAX_BYTES / (1024 * 1024)
        )
    }
}

impl<'a> Library<'a> {
    pub(crate) fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            kept: RefCell::default(),
            bytes: Cell::default(),
            workflows: RefCell::default(),
            actions: RefCell::default(),
        }
    }

    fn file(&self, name: &str) -> Result<Rc<[u8]>, Missing> {
        if let Some(known) = self.kept.borrow().get(name) {
            return known.clone().ok_or(Missing::NotThere);
        }
        if self.kept.borrow().len() >= MAX_FILES || self.bytes.get() >= MAX_BYTES {
            return Err(Missing::TooMany);
        }
        let found: Option<Rc<[u8]>> = self.files.file(name).map(Rc::from);
        self.bytes.set(self.bytes.get() + found.as_ref().map_or(0, |bytes| bytes.len()));
        self.kept.borrow_mut().insert(name.to_owned(), found.clone());
        found.ok_or(Missing::NotThere)
    }

    /// The workflow that `uses` of a job names; none when it is not there.
    pub(crate) fn workflow(&self, uses: &str) -> Option<Rc<Read<Workflow>>> {
        if let Some(known) = self.workflows.borrow().get(uses) {
            return known.clone();
        }
        let found = self.file(uses).ok().map(|bytes| Rc::new(read(&bytes)));
        self.workflows.borrow_mut().insert(uses.to_owned(), found.clone());
        found
    }

    fn action(&self, name: &str) -> Result<Rc<Read<Composite>>, Missing> {
        if let Some(known) = self.actions.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let bytes = self.file(name)?;
        let (read, complaints) = composite(&bytes);
        let read = Rc::new((read, complaints.sorted()));
        self.actions.borrow_mut().insert(name.to_owned(), Rc::clone(&read));
        Ok(read)
    }
}

/// What one workflow file uses of a library: a job that is decided later needs those files again.
pub(crate) struct Used<'a> {
    library: &'a Library<'a>,
    names: RefCell<BTreeSet<String>>,
}

impl<'a> Used<'a> {
    pub(crate) fn new(library: &'a Library<'a>) -> Self {
        Self { library, names: RefCell::default() }
    }

    fn noted<T>(&self, name: &str, found: Option<T>) -> Option<T> {
        if found.is_some() {
            self.names.borrow_mut().insert(name.to_owned());
        }
        found
    }

    /// The bytes of a file.
    pub(crate) fn file(&self, name: &str) -> Option<Rc<[u8]>> {
        self.noted(name, self.library.file(name).ok())
    }

    /// As [`Library::workflow`].
    pub(crate) fn workflow(&self, uses: &str) -> Option<Rc<Read<Workflow>>> {
        self.noted(uses, self.library.workflow(uses))
    }

    /// The action in a directory of the repository, with the name of its file.
    pub(crate) fn action(&self, directory: &str) -> Result<(String, Rc<Read<Composite>>), Missing> {
        for name in ["action.yml", "action.yaml"] {
            let file = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
            let uses = format!("./{file}");
            match self.library.action(&uses) {
                Ok(found) => {
                    self.names.borrow_mut().insert(uses);
                    return Ok((file, found));
                }
                Err(Missing::NotThere) => {}
                Err(Missing::TooMany) => return Err(Missing::TooMany),
            }
        }
        Err(Missing::NotThere)
    }

    /// The files that were used, name and text.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let text = |name: &String| {
            let bytes = self.library.file(name).ok()?;
            Some((name.clone(), String::from_utf8_lossy(&bytes).into_owned()))
        };
        self.names.borrow().iter().filter_map(text).collect()
    }
}
