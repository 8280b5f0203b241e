//! Whether a commit's message asks for no runs, in GitHub's words
//! (<https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs>). Pure.
//!
//! Must not know where the message is from.

const MARKS: [&str; 5] = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"];
const TRAILERS: [&str; 2] = ["skip-checks:true", "skip-checks: true"];

/// By which words it does.
pub(super) fn asked(message: &str) -> Option<&'static str> {
    MARKS.into_iter().find(|mark| message.contains(mark)).or_else(|| trailer(message))
}

/// The last line, when nothing but trailers is between it and two empty lines.
fn trailer(message: &str) -> Option<&'static str> {
    let message = message.replace("\r\n", "\n");
    let (_, trailers) = message.trim_end().rsplit_once("\n\n\n")?;
    let last = trailers.lines().next_back().filter(|_| !trailers.contains("\n\n"))?;
    TRAILERS.into_iter().find(|trailer| last.trim_end() == *trailer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_githubs_wherever_they_stand_and_the_trailer_is_after_two_empty_lines() {
        for (message, wanted) in [
            ("change", None),
            ("a [skip ci] b", Some("[skip ci]")),
            ("title\n\nbody\n[ci skip]", Some("[ci skip]")),
            ("[no ci]", Some("[no ci]")),
            ("x\n\n[skip actions]\n", Some("[skip actions]")),
            ("[actions skip] y", Some("[actions skip]")),
            ("skip ci", None),
            ("title\n\n\nskip-checks: true\n", Some("skip-checks: true")),
            ("title\r\n\r\n\r\nSigned-off-by: a\r\nskip-checks:true\r\n", Some("skip-checks:true")),
            ("title\n\nskip-checks: true", None),
            ("title\n\n\nskip-checks: true\nSigned-off-by: a", None),
            ("title\n\n\nbody\n\nskip-checks: true", None),
            ("skip-checks: true", None),
        ] {
            assert_eq!(asked(message), wanted, "{message:?}");
        }
    }
}
