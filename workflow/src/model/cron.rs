//! Whether a text is a cron expression as GitHub takes it: five fields, `*`, numbers, names, `,`, `-` and `/`. Rules:
//! GitHub, "schedule"; actions/languageservices `workflow-parser/src/model/converter/cron.ts`.

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

pub(super) fn is_valid(text: &str) -> bool {
    let fields: Vec<_> = text.split(' ').filter(|field| !field.is_empty()).collect();
    let around = text.starts_with(' ') || text.ends_with(' ');
    !around && fields.len() == 5 && fields.iter().zip(&FIELDS).all(|(field, range)| range.allows(field))
}

impl Range {
    fn allows(&self, field: &str) -> bool {
        field.split(',').all(|part| self.allows_part(part))
    }

    /// `*`, `5`, `1-5`, and each with `/2` behind it.
    fn allows_part(&self, part: &str) -> bool {
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
    use super::is_valid;

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
            assert!(is_valid(text), "{text}");
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
            assert!(!is_valid(text), "{text}");
        }
    }
}
