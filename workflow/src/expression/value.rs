//! The values that expressions compute with, and the rules for comparing and converting them.
//!
//! Rules: GitHub, "Operators" and "Object filters"; actions/languageservices `expressions/src/result.ts` and `data/`.
//! Texts are compared by UTF-16 units, without case, as GitHub's service does it (ordinal).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::number;

/// A value. Arrays and objects are shared, and equal only to themselves.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing; what a context does not have.
    Null,
    /// True or false.
    Boolean(bool),
    /// A double, as in JavaScript.
    Number(f64),
    /// Text.
    String(Arc<str>),
    /// A list.
    Array(Arc<Array>),
    /// Names and values.
    Object(Arc<Object>),
}

/// A list of values.
#[derive(Debug, Clone, Default)]
pub struct Array {
    /// In order.
    pub items: Vec<Value>,
    /// Made by `*`: what is asked of it is asked of each item.
    pub filtered: bool,
}

/// Names and values in order; a name is found without case.
#[derive(Debug, Clone, Default)]
pub struct Object {
    entries: Vec<(Arc<str>, Value)>,
    places: HashMap<Box<str>, usize>,
}

impl Value {
    /// Text.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::String(Arc::from(text.as_ref()))
    }

    /// A list.
    #[must_use]
    pub fn array(items: Vec<Self>) -> Self {
        Self::Array(Arc::new(Array { items, filtered: false }))
    }

    /// Names and values; of names that differ only in case the first is kept.
    #[must_use]
    pub fn object<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let mut object = Object::default();
        for (name, value) in entries {
            object.insert(name.as_ref(), value);
        }
        Self::Object(Arc::new(object))
    }

    pub(crate) fn filtered(items: Vec<Self>) -> Self {
        Self::Array(Arc::new(Array { items, filtered: true }))
    }

    /// False, null, zero, not-a-number and the empty text are falsy; all else is truthy.
    #[must_use]
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Boolean(value) => *value,
            Self::Number(value) => *value != 0.0 && !value.is_nan(),
            Self::String(value) => !value.is_empty(),
            Self::Array(_) | Self::Object(_) => true,
        }
    }

    /// True for all but arrays and objects.
    #[must_use]
    pub fn is_primitive(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// As a number; arrays and objects are none.
    #[must_use]
    pub fn as_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Boolean(value) => f64::from(u8::from(*value)),
            Self::Number(value) => *value,
            Self::String(value) => number::parse(value),
            Self::Array(_) | Self::Object(_) => f64::NAN,
        }
    }

    /// As text; an array is the word `Array`, an object the word `Object`.
    #[must_use]
    pub fn as_text(&self) -> Arc<str> {
        match self {
            Self::Null => Arc::from(""),
            Self::Boolean(value) => Arc::from(if *value { "true" } else { "false" }),
            Self::Number(value) => Arc::from(number::coerce(*value)),
            Self::String(value) => Arc::clone(value),
            Self::Array(_) => Arc::from("Array"),
            Self::Object(_) => Arc::from("Object"),
        }
    }

    /// What `==` says.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        match coerce(self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b || fold_case(&a) == fold_case(&b),
            (Self::Array(a), Self::Array(b)) => Arc::ptr_eq(&a, &b),
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(&a, &b),
            _ => false,
        }
    }

    /// What `<` and `>` go by; none when neither is so, as with not-a-number and with arrays and objects.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match coerce(self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(&b)),
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(&b),
            (Self::String(a), Self::String(b)) => {
                Some(fold_case(&a).encode_utf16().cmp(fold_case(&b).encode_utf16()))
            }
            _ => None,
        }
    }
}

/// Both as numbers when they are of different kinds and one is null or a boolean, or one a number and one a text.
fn coerce(left: &Value, right: &Value) -> (Value, Value) {
    use Value::{Array, Boolean, Null, Number, Object, String};
    match (left, right) {
        (Null, Null)
        | (Boolean(_), Boolean(_))
        | (Number(_), Number(_))
        | (String(_), String(_))
        | (Array(_) | Object(_), Array(_) | Object(_) | Number(_) | String(_))
        | (Number(_) | String(_), Array(_) | Object(_)) => (left.clone(), right.clone()),
        (Array(_) | Object(_), Null | Boolean(_)) => (left.clone(), Number(right.as_number())),
        (Null | Boolean(_), Array(_) | Object(_)) => (Number(left.as_number()), right.clone()),
        _ => (Number(left.as_number()), Number(right.as_number())),
    }
}

/// Upper case, letter by letter, so that no text changes its length in letters; the dotless `ı` stays as it is.
#[must_use]
pub fn fold_case(text: &str) -> String {
    let fold = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(one), None) if c != 'ı' => one,
            _ => c,
        }
    };
    text.chars().map(fold).collect()
}

impl Object {
    /// Adds a name; one that is there already, in whatever case, keeps its first value.
    pub fn insert(&mut self, name: &str, value: Value) {
        let at = self.entries.len();
        let place = self.places.entry(fold_case(name).into_boxed_str()).or_insert(at);
        if *place == at {
            self.entries.push((Arc::from(name), value));
        }
    }

    /// The value of a name, in whatever case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.places.get(fold_case(name).as_str()).map(|at| &self.entries[*at].1)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// How many names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_equal_only_to_itself() {
        let array = Value::array(vec![]);
        assert!(array.equals(&array.clone()));
        assert!(!array.equals(&Value::array(vec![])));
        assert!(!array.equals(&Value::Null) && !array.equals(&Value::text("Array")));
    }

    #[test]
    fn texts_are_compared_without_case_and_in_utf_16() {
        assert!(Value::text("straße").equals(&Value::text("STRAßE")));
        assert!(!Value::text("ı").equals(&Value::text("I")));
        // By code points the emoji would come last; its first UTF-16 unit is less than U+FF5A.
        assert_eq!(Value::text("😀").order(&Value::text("\u{ff5a}")), Some(Ordering::Less));
    }

    #[test]
    fn the_first_of_names_that_differ_in_case_is_kept() {
        let object = Value::object([("Ab", Value::Number(1.0)), ("aB", Value::Number(2.0))]);
        let Value::Object(object) = object else { panic!("{object:?}") };
        assert_eq!(object.len(), 1);
        assert!(object.get("AB").is_some_and(|v| v.equals(&Value::Number(1.0))));
    }
}
