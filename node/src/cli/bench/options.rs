//! Options that are lists of numbers within bounds, as in `1,64,1024`.

/// Numbers of one option, each within its bounds; at least one, at most [`MOST`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List(pub Vec<usize>);

/// Stages of one run, at most.
pub const MOST: usize = 16;

/// Reads a list whose numbers are `least` to `most`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn list(text: &str, least: usize, most: usize) -> Result<List, String> {
    let number = |part: &str| match part.trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{part:?} is not a number from {least} to {most}")),
    };
    let numbers: Vec<_> = text.split(',').map(number).collect::<Result<_, _>>()?;
    if numbers.len() > MOST {
        return Err(format!("{} numbers, {MOST} are allowed", numbers.len()));
    }
    Ok(List(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_within_bounds() {
        assert_eq!(list("1, 64,4096", 1, 4096), Ok(List(vec![1, 64, 4096])));
        for bad in ["", "0", "4097", "1,,2", "-1", "1;2", "99999999999999999999"] {
            assert!(list(bad, 1, 4096).is_err(), "{bad}");
        }
        let many = vec!["1"; MOST + 1].join(",");
        assert!(list(&many, 1, 2).is_err_and(|why| why.contains("17 numbers")));
    }
}
