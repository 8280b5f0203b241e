//! Cron expressions as GitHub takes them: five fields, `*`, numbers, names, `,`, `-` and `/`. Rules: GitHub, "schedule";
//! actions/languageservices `workflow-parser/src/model/converter/cron.ts`.
//!
//! Must not know: when it is, which times an expression means.

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What a field may hold.
struct Range {
    least: u32,
    most: u32,
    /// Names for the numbers from the least on.
    names: &'static [&'static str],
}

const FIELDS: [Range; 5] = [
    Range { least: 0, most: 59, names: &[] },
    Range { least: 0, most: 23, names: &[] },
    Range { least: 1, most: 31, names: &[] },
    Range { least: 1, most: 12, names: &MONTHS },
    Range { least: 0, most: 6, names: &DAYS },
];

/// A cron expression in the words that every reader of cron knows: a number with a step, as `3/5`, is the range from there to the end
/// of its field, `3-59/5`. None for what is no cron expression.
#[must_use]
pub fn cron(text: &str) -> Option<String> {
    let fields: Vec<_> = text.split(' ').filter(|field| !field.is_empty()).collect();
    if text.starts_with(' ') || text.ends_with(' ') || fields.len() != FIELDS.len() {
        return None;
    }
    let read = fields.iter().zip(&FIELDS).map(|(field, range)| range.read(field));
    Some(read.collect::<Option<Vec<_>>>()?.join(" "))
}

impl Range {
    fn read(&self, field: &str) -> Option<String> {
        let part = |part| {
            self.allows(part).then_some(())?;
            Some(match part.split_once('/') {
                Some((first, step)) if self.number(first).is_some() => {
                    format!("{first}-{}/{step}", self.most)
                }
                _ => part.to_owned(),
            })
        };
        Some(field.split(',').map(part).collect::<Option<Vec<_>>>()?.join(","))
    }

    /// `*`, `5`, `1-5`, and each with `/2` behind it.
    fn allows(&self, part: &str) -> bool {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let step_fine = step
            .is_none_or(|step| digits(step).is_some_and(|n| n > 0 && (self.least..=self.most).contains(&n)));
        let range_fine = match range.split_once('-') {
            Some((first, last)) => {
                matches!((self.number(first), self.number(last)), (Some(first), Some(last)) if first <= last)
            }
            None => range == "*" || self.number(range).is_some(),
        };
        step_fine && range_fine
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = named.map(|at| self.least + at as u32).or_else(|| digits(text))?;
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

fn digits(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::cron;

    #[test]
    fn cron_is_five_fields_in_their_ranges() {
        for text in [
            "* * * * *",
            "0 */12 * * *",
            "30 5,17 * * *",
            "15 4-6 1 JAN-jun MON-FRI",
            "0-59/5 0 31 12 6",
            "0  0 1 1 0",
            "5/15 * * * sun,2",
        ] {
            assert!(cron(text).is_some(), "{text}");
        }
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "1,, * * * *",
            "1- * * * *",
            "/5 * * * *",
            "*/5/5 * * * *",
            "x * * * *",
            "@daily",
            "* * * foo *",
            "-1 * * * *",
            "1-2-3 * * * *",
            " * * * * *",
        ] {
            assert_eq!(cron(text), None, "{text}");
        }
        for (text, wanted) in [
            ("3/5 * * * *", "3-59/5 * * * *"),
            ("1,20/15  */2 2/3 feb/2 mon/2", "1,20-59/15 */2 2-31/3 feb-12/2 mon-6/2"),
            ("0-30/5 9-17 * * mon-fri", "0-30/5 9-17 * * mon-fri"),
        ] {
            assert_eq!(cron(text).as_deref(), Some(wanted));
        }
    }
}
