//! Which contexts and functions an expression may name where it stands.

/// The contexts and functions that are allowed in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Names of contexts, as `github`; compared without case.
    pub contexts: &'static [&'static str],
    /// Functions beyond those that are allowed everywhere.
    pub functions: &'static [Function],
}

impl Scope {
    /// Nothing: an expression is not allowed here at all.
    pub const NONE: Self = Self { contexts: &[], functions: &[] };

    /// True where no expression is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contexts.is_empty() && self.functions.is_empty()
    }

    /// The names of all functions that may be called.
    pub(crate) fn function_names(&self) -> impl Iterator<Item = &'static str> {
        EVERYWHERE.iter().chain(self.functions).map(|function| function.name)
    }

    pub(crate) fn has_context(&self, name: &str) -> bool {
        self.contexts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// A function and how many arguments it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Its name; compared without case.
    pub name: &'static str,
    /// Fewest arguments.
    pub least: usize,
    /// Most arguments.
    pub most: usize,
}

impl Function {
    /// A function that takes this many.
    #[must_use]
    pub const fn new(name: &'static str, least: usize, most: usize) -> Self {
        Self { name, least, most }
    }
}

/// Those that are allowed wherever an expression is.
pub(crate) const EVERYWHERE: [Function; 8] = [
    Function::new("case", 3, usize::MAX),
    Function::new("contains", 2, 2),
    Function::new("endsWith", 2, 2),
    Function::new("format", 1, 255),
    Function::new("fromJSON", 1, 1),
    Function::new("join", 1, 2),
    Function::new("startsWith", 2, 2),
    Function::new("toJSON", 1, 1),
];

/// The functions that ask how it went so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `success()`.
    Success,
    /// `failure()`.
    Failure,
    /// `always()`.
    Always,
    /// `cancelled()`.
    Cancelled,
}

impl Status {
    /// By its name, without case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "success" => Some(Self::Success),
            "failure" => Some(Self::Failure),
            "always" => Some(Self::Always),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }
}
