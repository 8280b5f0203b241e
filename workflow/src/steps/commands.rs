//! Workflow commands: lines of a step's output that tell the runner something. Rules: GitHub, "Workflow commands for GitHub
//! Actions"; actions/runner `src/Runner.Common/ActionCommand.cs` and `src/Runner.Worker/ActionCommandManager.cs`.
//!
//! Must not know: how lines come here, what is masked.

use domain::{Annotation, Level};

/// Most characters of an annotation's message, and of its title and file.
const MAX_MESSAGE: usize = 4096;
const MAX_NAME: usize = 255;

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `error`, `warning`, `notice`.
    Annotate(Annotation),
    /// `debug`: a line that is shown only where debugging is wanted.
    Debug,
    /// `add-mask`: this must not be shown from now on.
    Mask(String),
    /// `stop-commands`: commands are text from now on, until this token.
    Stop(String),
    /// `set-output`, which GitHub calls deprecated, and still obeys.
    Output(String, String),
    /// `save-state`, the same.
    State(String, String),
    /// `set-env` and `add-path`, which are switched off: everybody who can print could use them.
    Refused(&'static str),
    /// `group`, `endgroup`, `echo`: they are for whoever shows the log.
    Shown,
}

/// What a line tells, if it is a command. White space before it is allowed.
#[must_use]
pub fn parse(line: &str) -> Option<Command> {
    let (head, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let data = unescaped(data, &[("%0D", "\r"), ("%0A", "\n"), ("%25", "%")]);
    let property = |wanted: &str| {
        let named = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| {
                let marks = [("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")];
                unescaped(value, &marks)
            })
        };
        properties.split(',').find_map(named).unwrap_or_default()
    };
    let annotate = |level| {
        let number = |name| property(name).trim().parse().unwrap_or(0);
        Some(Command::Annotate(Annotation {
            level,
            message: cut(&data, MAX_MESSAGE),
            title: cut(&property("title"), MAX_NAME),
            file: cut(&property("file"), MAX_NAME),
            line: number("line"),
            column: number("col"),
            step: 0,
        }))
    };
    match name.to_ascii_lowercase().as_str() {
        "error" => annotate(Level::Error),
        "warning" => annotate(Level::Warning),
        "notice" => annotate(Level::Notice),
        "debug" => Some(Command::Debug),
        "add-mask" => Some(Command::Mask(data)),
        "stop-commands" => Some(Command::Stop(data)),
        "set-output" => Some(Command::Output(property("name"), data)),
        "save-state" => Some(Command::State(property("name"), data)),
        "set-env" => Some(Command::Refused("set-env")),
        "add-path" => Some(Command::Refused("add-path")),
        "group" | "endgroup" | "echo" => Some(Command::Shown),
        _ => None,
    }
}

/// True when a line ends what `stop-commands` with this token began.
#[must_use]
pub fn resumes(line: &str, token: &str) -> bool {
    let inside = line.trim().strip_prefix("::").and_then(|rest| rest.strip_suffix("::"));
    inside == Some(token)
}

/// In one pass, so that what comes out is not read again.
fn unescaped(text: &str, marks: &[(&str, &str)]) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mark = marks
            .iter()
            .find(|(mark, _)| rest.get(..mark.len()).is_some_and(|head| head.eq_ignore_ascii_case(mark)));
        let (len, plain) = mark.map_or((1, "%"), |(mark, plain)| (mark.len(), plain));
        out.push_str(plain);
        rest = &rest[len..];
    }
    out + rest
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_github_does() {
        let found = parse("  ::error file=a%2Cb.rs,line=3,col=7,title=T%3A::one%0Atwo %25 %250A");
        let wanted = Annotation {
            level: Level::Error,
            message: "one\ntwo % %0A".to_owned(),
            title: "T:".to_owned(),
            file: "a,b.rs".to_owned(),
            line: 3,
            column: 7,
            step: 0,
        };
        assert_eq!(found, Some(Command::Annotate(wanted)));
        for (line, wanted) in [
            ("::add-mask::s3cret::", Some(Command::Mask("s3cret::".to_owned()))),
            ("::set-output name=a::b=c", Some(Command::Output("a".to_owned(), "b=c".to_owned()))),
            ("::SAVE-STATE name=a::b", Some(Command::State("a".to_owned(), "b".to_owned()))),
            ("::set-env name=a::b", Some(Command::Refused("set-env"))),
            ("::debug::x", Some(Command::Debug)),
            ("::group::x", Some(Command::Shown)),
            ("::stop-commands::tok", Some(Command::Stop("tok".to_owned()))),
            ("std::vec::Vec", None),
            ("::std::vec::Vec", None),
            ("::error", None),
            ("::", None),
            ("", None),
        ] {
            assert_eq!(parse(line), wanted, "{line}");
        }
        assert!(resumes(" ::tok:: ", "tok") && !resumes("::other::", "tok") && !resumes("tok", "tok"));
    }

    #[test]
    fn an_annotation_is_kept_in_part() {
        let found = parse(&format!("::notice title={}::{}", "t".repeat(9999), "m".repeat(9999)));
        assert!(
            matches!(found, Some(Command::Annotate(a)) if a.message.len() == MAX_MESSAGE && a.title.len() == MAX_NAME)
        );
    }
}
